"""The frames of docs/worker-protocol.md, and the failures that a worker tells of.

This module knows bytes and file descriptors. It knows no environment and needs neither numpy nor gymnasium, so that a worker can
say that they are missing.
"""

from __future__ import annotations

import json
import os
import struct
from enum import IntEnum
from typing import Any

MAGIC = b"IMPW"
VERSION = 1
# Length of what follows, kind, and three bytes that are 0, so that arrays begin at a multiple of 8.
HEADER = struct.Struct("<IB3x")
# Longest request, bytes: actions of 256 numbers for a million environments.
LENGTH_MAX = 1 << 30
# Longest text in a failure, characters. What matters in a traceback is its end.
TEXT_MAX = 16_384
# A pipe of Linux holds so much, and most requests fit.
_BUFFER_LEN = 65_536


class Kind(IntEnum):
    """What a frame is: below 128 a request to the worker, from there on what it says."""

    START = 1
    OBSERVE = 2
    STEP = 3
    RENDER = 4
    HELLO = 129
    DESCRIBED = 130
    OBSERVED = 131
    STEPPED = 132
    RENDERED = 133
    FAILED = 134


class Failure(Exception):
    """A reason to end that the worker can name itself; `kind` is one of those in the protocol."""

    def __init__(self, kind: str, message: str) -> None:
        """Take a kind of the protocol and a sentence with what to do."""
        super().__init__(message)
        self.kind = kind
        self.message = message


class Pipe:
    """Two descriptors: requests come from one and answers go to the other, each with one call of the system where it fits the pipe."""

    def __init__(self, reading: int, writing: int) -> None:
        """Take both descriptors, which stay the caller's."""
        self.reading = reading
        self._writing = writing
        self._view = memoryview(bytearray(_BUFFER_LEN))

    def read(self) -> tuple[int, memoryview] | None:
        """Wait for a request: its kind and its payload, which is valid until the next call. None when the other side is gone."""
        filled = os.readv(self.reading, [self._view])
        if filled == 0:
            return None
        filled = self._fill(filled, HEADER.size)
        length, kind = HEADER.unpack_from(self._view)
        if length > LENGTH_MAX:
            raise Failure("protocol", f"a request of {length} bytes came, the bound is {LENGTH_MAX}")
        end = HEADER.size + length
        if end > len(self._view):
            larger = memoryview(bytearray(end))
            larger[:filled] = self._view[:filled]
            self._view = larger
        if self._fill(filled, end) > end:
            raise Failure("protocol", "a request came before the one before it was answered")
        return kind, self._view[HEADER.size : end]

    def _fill(self, filled: int, end: int) -> int:
        while filled < end:
            count = os.readv(self.reading, [self._view[filled:end]])
            if count == 0:
                raise Failure("protocol", f"a request ends after {filled} of {end} bytes")
            filled += count
        return filled

    def write(self, kind: Kind, *parts: bytes | bytearray | memoryview) -> None:
        """Send one frame whose payload is these parts, one after the other."""
        length = sum(map(len, parts))
        written = os.writev(self._writing, [HEADER.pack(length, kind), *parts])
        if written < HEADER.size + length:
            rest = memoryview(b"".join([HEADER.pack(length, kind), *parts]))
            while written < len(rest):
                written += os.write(self._writing, rest[written:])

    def write_json(self, kind: Kind, value: dict[str, Any]) -> None:
        """Send one frame of JSON."""
        self.write(kind, json.dumps(value, allow_nan=False).encode())

    def hello(self) -> None:
        """Say what this is, before anything is asked."""
        self.write(Kind.HELLO, MAGIC + struct.pack("<I", VERSION))

    def fail(self, kind: str, message: str, traceback: str | None = None) -> None:
        """Say why the worker ends."""
        shown = traceback if traceback is None else traceback[-TEXT_MAX:]
        self.write_json(Kind.FAILED, {"kind": kind, "message": message[:TEXT_MAX], "traceback": shown})
