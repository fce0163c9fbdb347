"""The worker: says what it is, makes the environments that it is told, and answers until standard input ends."""

from __future__ import annotations

import json
import os
import select
import signal
import struct
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING

from impala_gym.protocol import Failure, Kind, Pipe

if TYPE_CHECKING:
    from impala_gym.vector import Environments

# The workers of an actor share the machine, and an environment's matrices are small: a pool of threads in each is only in the way.
_ONE_THREAD = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"]
# An actor that is gone waits so long for its workers before it kills them, seconds; one that was killed itself cannot.
_GRACE = 2.0


def main() -> int:
    """Serve one actor; gives the exit status."""
    # An interrupt in the terminal is the actor's to handle: this process ends when the actor lets go of its standard input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in _ONE_THREAD:
        os.environ.setdefault(name, "1")
    # Pictures are drawn into memory; there may be no screen.
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    if os.isatty(0):
        sys.stderr.write("impala_gym is a worker that an actor starts: impala train --environment gym:CartPole-v1\n")
        return 2
    pipe = _take_over_standard_streams()
    threading.Thread(target=_end_with_the_actor, args=(pipe.reading,), daemon=True).start()
    try:
        pipe.hello()
        _serve(pipe)
    except BrokenPipeError:
        return 0
    except Failure as failure:
        cause = failure.__cause__
        _say(pipe, failure.kind, failure.message, None if cause is None else _trace(cause))
        return 1
    # An environment may call sys.exit, and whoever waits for a step must be told that as well.
    except BaseException as error:
        _say(pipe, "raised", f"{type(error).__name__}: {error}", _trace(error))
        return 1
    return 0


def _take_over_standard_streams() -> Pipe:
    """Keep both ends of the pipe for the protocol; what environments print goes to standard error, and they read nothing."""
    reading, writing = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout.reconfigure(line_buffering=True)
    return Pipe(reading, writing)


def _end_with_the_actor(reading: int) -> None:
    """Wait until nobody can ask anything any more, and end also where an environment hangs."""
    watch = select.poll()
    # The end of the other side is told without being asked for.
    watch.register(reading, 0)
    watch.poll()
    time.sleep(_GRACE)
    os._exit(1)


def _serve(pipe: Pipe) -> None:
    request = pipe.read()
    if request is None:
        return
    kind, payload = request
    if kind != Kind.START:
        raise Failure("protocol", f"the first request is of kind {kind}, it must be {Kind.START:d}")
    start = json.loads(bytes(payload))
    try:
        from impala_gym.registry import make
    except ModuleNotFoundError as error:
        fix = f"install what impala_gym needs, e.g. `{sys.executable} -m pip install numpy 'gymnasium>=1.1'`"
        raise Failure("missing_module", f"{error}: {fix}") from error
    seeds = start["seeds"]
    environments, about = make(start["environment"], start["arguments"], len(seeds), render=start["render"])
    environments.reset(seeds)
    described = {
        "observations": environments.observation.describe(),
        "actions": environments.actions.described,
        "masked": environments.masked,
        "autoreset": "same_step",
        **about,
    }
    pipe.write_json(Kind.DESCRIBED, described)
    _answer(pipe, environments)
    environments.close()


def _answer(pipe: Pipe, environments: Environments) -> None:
    """Answer requests one by one until there are no more."""
    packed, step = environments.packed, environments.step
    while (request := pipe.read()) is not None:
        kind, payload = request
        if kind == Kind.STEP:
            finals = step(payload)
            if finals:
                pipe.write(Kind.STEPPED, packed.stepped, finals)
            else:
                pipe.write(Kind.STEPPED, packed.stepped)
        elif kind == Kind.OBSERVE:
            pipe.write(Kind.OBSERVED, packed.observed)
        elif kind == Kind.RENDER:
            (index,) = struct.unpack("<I", payload)
            picture = environments.render(index)
            pipe.write(Kind.RENDERED, struct.pack("<II", *picture.shape[:2]), picture.tobytes())
        else:
            raise Failure("protocol", f"requests of kind {kind} are unknown")


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def _say(pipe: Pipe, kind: str, message: str, trace: str | None) -> None:
    """Tell the actor, unless it is gone."""
    try:
        pipe.fail(kind, message, trace)
    except OSError:
        sys.stderr.write(f"{message}\n{trace or ''}")


if __name__ == "__main__":
    sys.exit(main())
