"""A `VectorEnv` that does nothing: what its steps take through a worker is what the worker takes."""

from __future__ import annotations

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space


class Null(VectorEnv):
    """Of CartPole's shape; every answer is the same."""

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(self, num_envs):
        """Take how many, and make the one answer."""
        self.num_envs = num_envs
        self.single_observation_space = spaces.Box(-1, 1, (4,), np.float32)
        self.single_action_space = spaces.Discrete(2)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        never = np.zeros(num_envs, np.bool_)
        self._answer = (np.zeros((num_envs, 4), np.float32), np.ones(num_envs), never, never, {})

    def reset(self, *, seed=None, options=None):
        """Do nothing."""
        return self._answer[0], {}

    def step(self, actions):
        """Do nothing."""
        return self._answer


gymnasium.register("Null-v0", vector_entry_point=Null)
