"""Spaces of gymnasium in the terms of the protocol: observations to numbers of one kind, bytes of actions to actions.

What cannot be said in those terms is refused with a sentence that names the space and what to do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from impala_gym.protocol import Failure

# Most components of an action, and most choices of one, that the other side takes.
_COMPONENTS_MAX = 256
_WRAP_IT = "wrap the environment in a module of your own, register it there and name it as gym:module:Name-v0"


class Observation:
    """How one observation becomes numbers of `dtype` in `shape`."""

    def __init__(self, dtype: type[np.generic], shape: Sequence[int], accepted: tuple[np.dtype[Any], ...]) -> None:
        """Take what is sent, and the dtypes that an environment may give for it."""
        self.dtype = np.dtype(dtype)
        self.shape = tuple(int(dimension) for dimension in shape)
        self._accepted = accepted

    @property
    def size(self) -> int:
        """Bytes of one observation."""
        return math.prod(self.shape) * self.dtype.itemsize

    def describe(self) -> dict[str, Any]:
        """The space as the protocol has it."""
        return {"dtype": "u8" if self.dtype == np.uint8 else "f32", "shape": list(self.shape)}

    def encode(self, observation: Any) -> np.ndarray:
        """One observation as an array of this shape, which may still belong to the environment."""
        return self._checked(observation, self.shape)

    def encode_all(self, observations: Any, count: int) -> np.ndarray:
        """Observations of so many environments, as a `VectorEnv` gives them."""
        return self._checked(observations, (count, *self.shape))

    def write(self, observations: Sequence[Any], rows: np.ndarray) -> None:
        """Observations of all environments into their rows; what is as it should be costs no call."""
        shape, dtype, array = self.shape, self.dtype, np.ndarray
        for index, observation in enumerate(observations):
            if observation.__class__ is array and observation.dtype == dtype and observation.shape == shape:
                rows[index] = observation
            else:
                rows[index] = self.encode(observation)

    def _checked(self, observation: Any, shape: tuple[int, ...]) -> np.ndarray:
        if not isinstance(observation, np.ndarray | np.generic):
            raise _malformed(f"an observation is a {type(observation).__name__}, its space says an array of shape {shape}")
        if observation.shape != shape:
            raise _malformed(f"an observation has shape {observation.shape}, its space says {shape}")
        if observation.dtype not in self._accepted:
            allowed = " or ".join(str(dtype) for dtype in self._accepted)
            raise _malformed(f"an observation is of {observation.dtype}, its space says {allowed}")
        return observation


class OneHot(Observation):
    """A `Discrete` observation: as many numbers as it has values, of which one is 1."""

    def __init__(self, count: int, start: int) -> None:
        """Take how many values there are and the first of them."""
        super().__init__(np.float32, [count], ())
        self._start = start

    def encode(self, observation: Any) -> np.ndarray:
        """A row of zeros with a one."""
        return self.encode_all([observation], 1)[0]

    def write(self, observations: Sequence[Any], rows: np.ndarray) -> None:
        """All rows in one go."""
        rows[:] = self.encode_all(observations, len(observations))

    def encode_all(self, observations: Any, count: int) -> np.ndarray:
        """A row for each environment."""
        places = np.asarray(observations)
        if places.shape != (count,) or not np.issubdtype(places.dtype, np.integer):
            raise _malformed(f"observations are {observations!r}, their space says {count} whole numbers")
        places = places - self._start
        values = self.shape[0]
        if (places < 0).any() or (places >= values).any():
            last = self._start + values - 1
            raise _malformed(f"observations are {observations!r}, their space says {self._start} to {last}")
        rows = np.zeros((count, values), np.float32)
        rows[np.arange(count), places] = 1.0
        return rows


class Actions:
    """How the bytes of a step become the actions of its environments."""

    def __init__(self, described: dict[str, Any], wire: type[np.generic], shape: tuple[int, ...], dtype: Any, start: Any = 0) -> None:
        """Take the space as the protocol has it, what its numbers are on the wire, and what the environment wants."""
        self.described = described
        self._wire = np.dtype(wire).newbyteorder("<")
        self._shape = shape
        self._dtype = np.dtype(dtype)
        self._start = start if np.any(start) else None
        self.size = math.prod(shape) * self._wire.itemsize

    @property
    def choices(self) -> list[int]:
        """The choices of every component; none of a box."""
        if "discrete" in self.described:
            return [self.described["discrete"]]
        return self.described.get("multi_discrete", [])

    def decode(self, payload: memoryview, count: int) -> np.ndarray:
        """Actions of so many environments: what a `VectorEnv` takes, and each of its items what one environment takes."""
        if len(payload) != count * self.size:
            raise Failure("protocol", f"a step has {len(payload)} bytes, {count} actions have {count * self.size}")
        # Copied, so that an environment may keep its action while the memory of the message is used again.
        actions = np.frombuffer(payload, self._wire).reshape((count, *self._shape)).astype(self._dtype)
        return actions if self._start is None else actions + self._start


def observation_of(space: spaces.Space[Any], name: str) -> Observation:
    """How observations of this space are sent."""
    if isinstance(space, spaces.Box):
        if space.dtype == np.uint8:
            return Observation(np.uint8, space.shape, (np.dtype(np.uint8),))
        floats = (np.dtype(np.float32), np.dtype(np.float64))
        if space.dtype in floats:
            return Observation(np.float32, space.shape, floats)
        fix = "gymnasium.wrappers.DtypeObservation(env, numpy.float32) converts them"
        raise _unsupported(name, f"observations are {_shown(space)}, a Box of {space.dtype}", fix)
    if isinstance(space, spaces.Discrete):
        return OneHot(int(space.n), int(space.start))
    fix = "gymnasium.wrappers.FlattenObservation(env) flattens them"
    if isinstance(space, spaces.MultiDiscrete | spaces.MultiBinary):
        fix = "gymnasium.wrappers.DtypeObservation(gymnasium.wrappers.FlattenObservation(env), numpy.float32) flattens them"
    if isinstance(space, spaces.Text | spaces.Graph | spaces.Sequence):
        fix = "gymnasium.wrappers.TransformObservation makes an array of a fixed shape of them"
    raise _unsupported(name, f"observations are {_shown(space)}", fix)


def actions_of(space: spaces.Space[Any], name: str) -> Actions:
    """How actions of this space are received."""
    if isinstance(space, spaces.Discrete):
        return Actions({"discrete": int(space.n)}, np.uint8, (), space.dtype, int(space.start))
    if isinstance(space, spaces.MultiDiscrete):
        choices = [int(n) for n in space.nvec.ravel()]
        _bound_components(space, name)
        return Actions({"multi_discrete": choices}, np.uint8, space.shape, space.dtype, getattr(space, "start", 0))
    if isinstance(space, spaces.MultiBinary):
        _bound_components(space, name)
        return Actions({"multi_discrete": [2] * math.prod(space.shape)}, np.uint8, space.shape, space.dtype)
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        _bound_components(space, name)
        bounds = {"low": _bounds(space.low), "high": _bounds(space.high)}
        return Actions({"box": bounds}, np.float32, space.shape, space.dtype)
    fix = "gymnasium.wrappers.TransformAction makes them of a Box of floats, a Discrete or a MultiDiscrete"
    raise _unsupported(name, f"actions are {_shown(space)}", fix)


def _bounds(bounds: np.ndarray) -> list[float | None]:
    """As JSON has them: it knows no infinity, and what has none is no bound."""
    numbers = bounds.astype(np.float32).ravel()
    return [float(number) if np.isfinite(number) else None for number in numbers]


def _bound_components(space: spaces.Space[Any], name: str) -> None:
    components = math.prod(space.shape or ())
    if components > _COMPONENTS_MAX:
        fix = "gymnasium.wrappers.TransformAction makes them of fewer"
        raise _unsupported(name, f"actions have {components} components, at most {_COMPONENTS_MAX} are taken", fix)


def _shown(space: spaces.Space[Any]) -> str:
    text = repr(space)
    return text if len(text) <= 200 else f"{text[:200]}.."


def _unsupported(name: str, what: str, fix: str) -> Failure:
    return Failure("unsupported", f"{name}: its {what}: {fix}; {_WRAP_IT}")


def _malformed(what: str) -> Failure:
    return Failure("malformed", what)
