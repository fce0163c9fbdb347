"""What the Python peers tell the harness: JSON lines appended to the file in $PEER_EVENTS, from any of their processes.

Imports no peer, so that each virtual environment can load it; `harness/measure.py` says what the events mean.
"""

import argparse
import json
import os
import signal
import sys
import time

import gymnasium

_file = None


def emit(**event):
    """Appends one event, stamped with the system-wide monotonic clock; one write, so that lines stay whole."""
    global _file
    if _file is None:
        _file = os.open(os.environ["PEER_EVENTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(_file, (json.dumps({"t": time.monotonic(), **event}) + "\n").encode())


class EpisodeReturns(gymnasium.Wrapper):
    """Emits the return of every episode that ends, before any wrapper of the peer's can scale or normalise it."""

    def reset(self, **kwargs):
        self._sum = 0.0
        return self.env.reset(**kwargs)

    def step(self, action):
        result = self.env.step(action)
        self._sum += float(result[1])
        if result[2] or result[3]:
            emit(episode=self._sum)
        return result


def cartpole(**kwargs):
    """gymnasium's CartPole-v1 with its returns told."""
    return EpisodeReturns(gymnasium.make("CartPole-v1", **kwargs))


def arguments(**extra):
    """The arguments that every adapter takes, and SIGTERM turned into an orderly exit."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", choices=["solve", "throughput"], required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--scratch", required=True)
    for name, choices in extra.items():
        parser.add_argument(f"--{name}", choices=choices, required=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    return parser.parse_args()
