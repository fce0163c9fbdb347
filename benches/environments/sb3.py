"""stable-baselines3's PPO on an environment of gymnasium until it reaches a goal, with rl-baselines3-zoo's hyperparameters for it.

Prints a line: whether it did, the frames and the seconds until then. It is checked as impala's policies are: the mean return of 100
episodes by the most probable actions, played apart from training. The time of these checks does not count.
"""

import argparse
import json
import time

import gymnasium
import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize


def falling(start):
    """A learning rate or clip range that falls to 0 over the zoo's frames."""
    return lambda remaining: remaining * start


# As in rl-baselines3-zoo's hyperparams/ppo.yml; the goal is that of impala's kind of environment.
PPO_SETTINGS = {
    "CartPole-v1": {
        "goal": 475,
        "frames": 100_000,
        "environments": 8,
        "normalise": False,
        "algorithm": {
            "n_steps": 32,
            "batch_size": 256,
            "gae_lambda": 0.8,
            "gamma": 0.98,
            "n_epochs": 20,
            "ent_coef": 0.0,
            "learning_rate": falling(0.001),
            "clip_range": falling(0.2),
        },
    },
    "Pendulum-v1": {
        "goal": -200,
        "frames": 100_000,
        "environments": 4,
        "normalise": False,
        "algorithm": {
            "n_steps": 1024,
            "gae_lambda": 0.95,
            "gamma": 0.9,
            "n_epochs": 10,
            "ent_coef": 0.0,
            "learning_rate": 1e-3,
            "clip_range": 0.2,
            "use_sde": True,
            "sde_sample_freq": 4,
        },
    },
    "Acrobot-v1": {
        "goal": -100,
        "frames": 1_000_000,
        "environments": 16,
        "normalise": True,
        "algorithm": {"n_steps": 256, "gae_lambda": 0.94, "gamma": 0.99, "n_epochs": 4, "ent_coef": 0.0},
    },
}
EPISODES = 100


class Goal(BaseCallback):
    """Ends the training at the end of the first rollout whose policy reaches the goal."""

    def __init__(self, environment, goal, frames_between, seed):
        super().__init__()
        self.environment, self.goal, self.frames_between, self.seed = environment, goal, frames_between, seed
        self.checking, self.due, self.reached = 0.0, frames_between, None

    def _on_training_start(self):
        self.began = time.monotonic()

    def _on_step(self):
        return self.reached is None

    def _on_rollout_start(self):
        # The updates from the rollout before are done.
        if self.num_timesteps < self.due or self.reached is not None:
            return
        now = time.monotonic()
        self.due = self.num_timesteps + self.frames_between
        if self.mean_return() >= self.goal:
            self.reached = (self.num_timesteps, now - self.began - self.checking)
        self.checking += time.monotonic() - now

    def mean_return(self):
        environments = gymnasium.make_vec(self.environment, EPISODES, vectorization_mode="sync")
        observations, _ = environments.reset(seed=[self.seed + 10_000 + i for i in range(EPISODES)])
        normalise = getattr(self.training_env, "normalize_obs", lambda x: x)
        returns, running = np.zeros(EPISODES), np.ones(EPISODES, bool)
        while running.any():
            actions, _ = self.model.predict(normalise(observations), deterministic=True)
            observations, rewards, terminated, truncated, _ = environments.step(actions)
            returns += rewards * running
            running &= ~(terminated | truncated)
        environments.close()
        return returns.mean()


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("environment", choices=PPO_SETTINGS)
    arguments.add_argument("--seed", type=int, default=1)
    arguments = arguments.parse_args()
    settings = PPO_SETTINGS[arguments.environment]
    environments = make_vec_env(arguments.environment, settings["environments"], seed=arguments.seed)
    if settings["normalise"]:
        environments = VecNormalize(environments, gamma=settings["algorithm"]["gamma"])
    model = PPO("MlpPolicy", environments, seed=arguments.seed, device="cpu", **settings["algorithm"])
    frames_between = max(settings["frames"] // 50, model.n_steps * settings["environments"])
    goal = Goal(arguments.environment, settings["goal"], frames_between, arguments.seed)
    model.learn(settings["frames"], callback=goal)
    goal._on_rollout_start()
    frames, seconds = goal.reached or (model.num_timesteps, time.monotonic() - goal.began - goal.checking)
    print(json.dumps({"solved": goal.reached is not None, "frames": frames, "seconds": round(seconds, 2)}))


if __name__ == "__main__":
    main()
