"""Environments that the tests register: one with many spaces that misbehaves on demand, and two that come as a `VectorEnv`."""

from __future__ import annotations

import copy
import os
import sys
import time

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

_OBSERVATIONS = {
    "plain": spaces.Box(-1, 1, (2,), np.float32),
    "float64": spaces.Box(-np.inf, np.inf, (2, 2), np.float64),
    "pixels": spaces.Box(0, 255, (4, 5, 3), np.uint8),
    "scalar": spaces.Box(-1, 1, (), np.float32),
    "discrete": spaces.Discrete(7, start=-3),
    "dict": spaces.Dict({"a": spaces.Discrete(2)}),
    "text": spaces.Text(5),
    "int64": spaces.Box(0, 9, (2,), np.int64),
}
_ACTIONS = {
    "plain": spaces.Discrete(3),
    "started": spaces.Discrete(3, start=5),
    "multi_discrete": spaces.MultiDiscrete([3, 2]),
    "multi_binary": spaces.MultiBinary(3),
    "box": spaces.Box(np.array([-1, 0], np.float32), np.array([1, 4], np.float32)),
    "unbounded": spaces.Box(-np.inf, np.inf, (1,), np.float32),
    "tuple": spaces.Tuple([spaces.Discrete(2)]),
    "many": spaces.MultiBinary(300),
    "wide": spaces.Discrete(300),
}


class Own(gymnasium.Env):
    """Shows samples of its observation space, with the sum of the action worked in where that is numbers."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}

    def __init__(self, observations="plain", actions="plain", fault="", render_mode=None):
        """Take the names of spaces, and what goes wrong in the third step."""
        # A copy: a space has a random source of its own.
        self.observation_space = copy.deepcopy(_OBSERVATIONS[observations])
        self.action_space = _ACTIONS[actions]
        self.render_mode = render_mode
        self._fault = fault

    def reset(self, *, seed=None, options=None):
        """Begin, and draw all that follows from the seed where there is one."""
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self._steps = 0
        return self._sample(), {}

    def step(self, action):
        """Take an action of its space, and no other."""
        assert self.action_space.contains(action), f"{action!r} is none of {self.action_space}"
        self._steps += 1
        observation, reward = self._sample(), float(np.sum(action)) + self.np_random.random()
        if self._fault and self._steps == 3:
            observation, reward = self._fail(observation, reward)
        return observation, reward, self.np_random.random() < 0.05, self._steps >= 20, {}

    def render(self):
        """A small picture."""
        if self.render_mode is None:
            return None
        picture = np.zeros((2, 3, 3), np.uint8)
        picture[0, 0, 0] = 200
        return picture

    def _sample(self):
        return self.observation_space.sample()

    def _fail(self, observation, reward):
        match self._fault:
            case "nan":
                observation = np.array([0, np.nan], np.float32)
            case "inf":
                reward = np.inf
            case "shape":
                observation = np.zeros(3, np.float32)
            case "dtype":
                observation = np.zeros(2, np.int64)
            case "list":
                observation = [0.0, 0.0]
            case "reward":
                reward = "much"
            case "raise":
                reward = 1 // 0
            case "quit":
                sys.exit(4)
            case "die":
                os._exit(5)
            case "hang":
                time.sleep(60)
            case "print":
                print("printed by an environment")
                os.write(1, b"written by a library\n")
        return observation, reward


class Vector(VectorEnv):
    """Counts in every environment, and begins anew within the step that ends an episode."""

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(self, num_envs):
        """Take how many."""
        self.num_envs = num_envs
        self.single_observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.single_action_space = spaces.Discrete(2)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(self, *, seed=None, options=None):
        """Begin at the seeds."""
        self._starts = np.array(seed, np.float32) % 10
        self._sums = self._starts.copy()
        self._steps = np.zeros(self.num_envs, np.float32)
        return self._shown(), {}

    def step(self, actions):
        """Add the actions; 13 ends an episode, the fifteenth step cuts it."""
        self._sums += actions
        self._steps += 1
        terminated, truncated = self._sums >= 13, self._steps >= 15
        ended = terminated | truncated
        infos = {}
        if ended.any():
            infos = {"final_obs": self._shown(), "_final_obs": ended}
            self._sums[ended] = self._starts[ended]
            self._steps[ended] = 0
        return self._shown(), actions.astype(np.float64), terminated, truncated, infos

    def _shown(self):
        return np.stack([self._sums, self._steps], axis=1)


class NextStep(Vector):
    """Says that its episodes begin a step later."""

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}


gymnasium.register("Own-v0", Own)
gymnasium.register("Vector-v0", vector_entry_point=Vector)
gymnasium.register("NextStep-v0", vector_entry_point=NextStep)
