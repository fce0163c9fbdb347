"""N environments that are stepped by one message: one by one, or as a `VectorEnv` that begins episodes anew within a step.

Both write what a step says into the same `Packed` memory, which is sent as it is; neither knows the pipe.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import gymnasium
import numpy as np

from impala_gym.protocol import Failure
from impala_gym.spaces import Actions, Observation

CONTINUES, TERMINATED, TRUNCATED = 0, 1, 2
_MASK = "action_mask"


class Packed:
    """What a step says, as it is sent: observations, masks, rewards, outcomes. Its first part is what a reset says."""

    def __init__(self, count: int, observation: Observation, mask_len: int) -> None:
        """Take how many environments there are, and the sizes of what they show."""
        observations = count * observation.size
        masks = observations + count * mask_len
        rewards = masks + count * 4
        memory = memoryview(bytearray(rewards + count))
        self.stepped = memory
        self.observed = memory[:masks]
        wire = observation.dtype.newbyteorder("<")
        self.observations = np.frombuffer(memory[:observations], wire).reshape((count, *observation.shape))
        self.masks = np.frombuffer(memory[observations:masks], np.uint8).reshape((count, mask_len))
        self.rewards = np.frombuffer(memory[masks:rewards], "<f4")
        self.outcomes = np.frombuffer(memory[rewards:], np.uint8)


class Environments(Protocol):
    """What the worker needs of either kind."""

    observation: Observation
    actions: Actions
    packed: Packed
    masked: bool

    def reset(self, seeds: Sequence[int]) -> None:
        """Begin the first episodes."""

    def step(self, payload: memoryview) -> bytes:
        """Take one action in every environment; gives the true final observations of those that were truncated."""

    def render(self, index: int) -> np.ndarray:
        """A picture of one of them: `[height, width, 3]` bytes."""

    def close(self) -> None:
        """Let go of windows, files and processes."""


class Singles:
    """Environments that are stepped one after the other, and reset by this class where their episodes end."""

    def __init__(self, environments: Sequence[gymnasium.Env[Any, Any]], observation: Observation, actions: Actions) -> None:
        """Take environments of one kind and how to read and tell what they say."""
        self.observation = observation
        self.actions = actions
        self.masked = False
        self._environments = environments
        self._steps = [environment.step for environment in environments]
        self._mask_len = sum(actions.choices)

    def reset(self, seeds: Sequence[int]) -> None:
        """Begin the first episodes, each from its own seed."""
        pairs = zip(self._environments, seeds, strict=True)
        starts = [environment.reset(seed=seed) for environment, seed in pairs]
        self.masked = self._mask_len > 0 and _MASK in starts[0][1]
        self.packed = Packed(len(starts), self.observation, self._mask_len if self.masked else 0)
        self._show(*zip(*starts, strict=True))

    def step(self, payload: memoryview) -> bytes:
        """Take one action in every environment; begins the next episode of those whose episode ended."""
        outcomes = self.packed.outcomes
        outcomes.fill(CONTINUES)
        observations, rewards, infos, finals = [], [], [], []
        for step, action in zip(self._steps, self.actions.decode(payload, len(self._steps)), strict=True):
            observation, reward, terminated, truncated, info = step(action)
            rewards.append(reward)
            if terminated or truncated:
                index = len(observations)
                outcomes[index] = TERMINATED if terminated else TRUNCATED
                if not terminated:
                    finals.append(_copied(self.observation, self.observation.encode(observation)))
                observation, info = self._environments[index].reset()
            observations.append(observation)
            infos.append(info)
        self._pay(rewards)
        self._show(observations, infos)
        return b"".join(finals)

    def _pay(self, rewards: list[Any]) -> None:
        try:
            self.packed.rewards[:] = rewards
        except (TypeError, ValueError) as error:
            raise Failure("malformed", f"the rewards are {rewards!r}, which are not all numbers") from error

    def _show(self, observations: Sequence[Any], infos: Sequence[dict[str, Any]]) -> None:
        self.observation.write(observations, self.packed.observations)
        if self.masked:
            for mask, info in zip(self.packed.masks, infos, strict=True):
                mask[:] = _flat_mask(info.get(_MASK), self._mask_len)

    def render(self, index: int) -> np.ndarray:
        """A picture of one of them."""
        return _picture(self._environments[index].render())

    def close(self) -> None:
        """Close all of them."""
        for environment in self._environments:
            environment.close()


class Batched:
    """A `VectorEnv` whose metadata say that it begins episodes anew within a step."""

    def __init__(self, environments: gymnasium.vector.VectorEnv[Any, Any, Any], observation: Observation, actions: Actions) -> None:
        """Take the environments and how to read and tell what one of them says."""
        self.observation = observation
        self.actions = actions
        self.masked = False
        self._environments = environments
        self._count = environments.num_envs
        self._mask_len = sum(actions.choices)

    def reset(self, seeds: Sequence[int]) -> None:
        """Begin the first episodes, each from its own seed."""
        observations, infos = self._environments.reset(seed=list(seeds))
        self.masked = self._mask_len > 0 and _MASK in infos
        self.packed = Packed(self._count, self.observation, self._mask_len if self.masked else 0)
        self._show(observations, infos)

    def step(self, payload: memoryview) -> bytes:
        """Take one action in every environment."""
        actions = self.actions.decode(payload, self._count)
        observations, rewards, terminated, truncated, infos = self._environments.step(actions)
        packed = self.packed
        if np.shape(rewards) != (self._count,):
            raise Failure("malformed", f"the rewards have shape {np.shape(rewards)}, there are {self._count} environments")
        packed.rewards[:] = rewards
        packed.outcomes[:] = terminated
        finals = b""
        if truncated.any():
            is_cut = truncated & ~terminated
            packed.outcomes[is_cut] = TRUNCATED
            finals = b"".join(self._final(infos, index) for index in np.flatnonzero(is_cut))
        self._show(observations, infos)
        return finals

    def _final(self, infos: dict[str, Any], index: int) -> np.ndarray:
        finals = infos.get("final_obs")
        if finals is None or finals[index] is None:
            raise Failure("malformed", f"environment {index} was truncated and infos has no final_obs of it")
        return _copied(self.observation, self.observation.encode(finals[index]))

    def _show(self, observations: Any, infos: dict[str, Any]) -> None:
        self.packed.observations[:] = self.observation.encode_all(observations, self._count)
        if self.masked:
            masks = infos.get(_MASK)
            for index, row in enumerate(self.packed.masks):
                row[:] = _flat_mask(None if masks is None else masks[index], self._mask_len)

    def render(self, index: int) -> np.ndarray:
        """A picture of one of them; all are drawn, as a `VectorEnv` knows no other way."""
        pictures = self._environments.render()
        return _picture(None if pictures is None else pictures[index])

    def close(self) -> None:
        """Close all of them."""
        self._environments.close()


def _copied(observation: Observation, encoded: np.ndarray) -> np.ndarray:
    """As it is sent, and no longer the environment's, which may write the next episode's first over it."""
    return np.array(encoded, observation.dtype.newbyteorder("<"), order="C")


def _flat_mask(mask: Any, length: int) -> np.ndarray:
    """One byte for every choice of every component: 1 where it may be made."""
    if isinstance(mask, np.ndarray) and mask.shape == (length,):
        return mask != 0
    parts = mask if isinstance(mask, tuple | list) else [mask]
    flat = np.concatenate([np.ravel(part) for part in parts])
    if mask is None or len(flat) != length:
        shown = "missing" if mask is None else f"of {len(flat)} numbers"
        raise Failure("malformed", f"info['{_MASK}'] is {shown}, the actions have {length} choices")
    return flat != 0


def _picture(picture: Any) -> np.ndarray:
    if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        shown = f"an array {picture.shape} of {picture.dtype}" if isinstance(picture, np.ndarray) else type(picture).__name__
        raise Failure("malformed", f"render() gave {shown}, an array (height, width, 3) of uint8 was asked for")
    return np.ascontiguousarray(picture)
