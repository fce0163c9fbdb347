"""Gymnasium's own ways to step environments of one kind in one process and several; scripts/measure-gym.sh runs this.

    python measure-gym.py WAY ENVIRONMENTS SECONDS

Prints the median and the mean time of a step of all of them, in microseconds. WAY is `null` (the environment that does nothing, in
process), `loop` (CartPoles one after the other, nothing else), `sync`, `async` or `sb3`. Episodes begin anew within a step in all of them.
"""

import statistics
import sys
import time

import gymnasium
import numpy as np

WARM_UP = 200


def loop(count):
    """CartPoles with the least that must be done around them."""
    envs = [gymnasium.make("CartPole-v1", disable_env_checker=True) for _ in range(count)]
    for seed, env in enumerate(envs):
        env.reset(seed=seed)

    def step(actions):
        for env, action in zip(envs, actions, strict=True):
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()

    return step


def vectorised(count, mode):
    """`SyncVectorEnv` or `AsyncVectorEnv`."""
    same_step = {"autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP}
    envs = gymnasium.make_vec("CartPole-v1", count, vectorization_mode=mode, vector_kwargs=same_step)
    envs.reset(seed=0)
    return envs.step


def null(count):
    """The environment that does nothing."""
    import null_environment

    return null_environment.Null(count).step


def sb3(count):
    """Stable-Baselines3's `SubprocVecEnv`."""
    from stable_baselines3.common.vec_env import SubprocVecEnv

    envs = SubprocVecEnv([lambda: gymnasium.make("CartPole-v1")] * count, start_method="fork")
    envs.reset()
    return envs.step


def main(way, count, seconds):
    """Measure one way."""
    step = vectorised(count, way) if way in ("sync", "async") else {"null": null, "loop": loop, "sb3": sb3}[way](count)
    actions = (np.arange(count) + 1) % 2
    for _ in range(WARM_UP):
        step(actions)
    calls, begin = [], time.perf_counter()
    while time.perf_counter() - begin < seconds:
        since = time.perf_counter()
        step(actions)
        calls.append(time.perf_counter() - since)
    print(f"{statistics.median(calls) * 1e6:.1f} {statistics.fmean(calls) * 1e6:.1f}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
