#!/usr/bin/env python3
"""Plays the saved models of solved CartPole-v1 runs in Gymnasium, whose dynamics and random numbers are not ours.

Each `model.safetensors` below the given directories whose run was solved plays episodes with the greedy policy. A solve is false
where the 95 % interval of the mean return lies wholly below the run's goal. Exits 1 if there is one, or if there was no run to play.
Needs `pip install gymnasium safetensors numpy`.
"""

import argparse
import json
import math
import pathlib
import sys

import numpy as np
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from safetensors import safe_open

ACTIVATIONS = {"tanh": np.tanh, "relu": lambda x: np.maximum(x, 0)}
STEPS_MAX = 500


def read(path):
    """The parameters by name, and the name of the activation."""
    with safe_open(path, framework="numpy") as file:
        description = json.loads(file.metadata()["impala"])
        if description["environment"] != "cartpole-v1":
            sys.exit(f"{path} is of {description['environment']}, not cartpole-v1: name directories of such runs only")
        return {name: file.get_tensor(name) for name in file.keys()}, description["activation"]


def greedy(model, activation):
    """Observations [N, 4] to the actions [N] with the largest logits."""
    layers = sorted({int(name.split(".")[1]) for name in model if name.startswith("torso.")})

    def act(observations):
        x = observations
        for layer in layers:
            x = ACTIVATIONS[activation](x @ model[f"torso.{layer}.weight"] + model[f"torso.{layer}.bias"])
        return np.argmax(x @ model["policy.weight"] + model["policy.bias"], axis=1)

    return act


def play(act, episodes, seed):
    """The returns of so many episodes, one in each environment."""
    environments = CartPoleVectorEnv(num_envs=episodes, max_episode_steps=STEPS_MAX)
    observations, _ = environments.reset(seed=seed)
    returns, is_on = np.zeros(episodes), np.ones(episodes, dtype=bool)
    while is_on.any():
        observations, rewards, terminated, truncated, _ = environments.step(act(observations))
        returns[is_on] += rewards[is_on]
        is_on &= ~(terminated | truncated)
    return returns


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directories", nargs="+", type=pathlib.Path, help="where runs lie, at any depth")
    parser.add_argument("--episodes", type=int, default=1000, help="of each model (default 1000)")
    parser.add_argument("--seed", type=int, default=20_261_126, help="of the first model; each next one has the next")
    arguments = parser.parse_args()
    directories = arguments.directories
    for directory in directories:
        if not directory.is_dir():
            sys.exit(f"{directory} is no directory: name one with run directories in it")
    summaries = sorted(path for directory in directories for path in directory.rglob("summary.json"))
    groups, false, played = {}, [], 0
    for path in summaries:
        summary = json.loads(path.read_text())
        if summary["solved"] is None:
            continue
        act = greedy(*read(path.with_name("model.safetensors")))
        returns = play(act, arguments.episodes, arguments.seed + played)
        played += 1
        mean, error = returns.mean(), 1.96 * returns.std(ddof=1) / math.sqrt(len(returns))
        group = groups.setdefault(path.relative_to(directory_of(path, directories)).parts[0], [])
        group.append(mean)
        if mean + error < summary["solved_return"]:
            false.append(f"{path.parent}: {mean:.1f} +- {error:.1f}, the goal is {summary['solved_return']}")
        print(f"{played} played", end="\r", file=sys.stderr, flush=True)
    print("| runs | solved | lowest mean | median | highest |\n|---|---|---|---|---|")
    for name, means in groups.items():
        print(f"| {name} | {len(means)} | {min(means):.1f} | {np.median(means):.1f} | {max(means):.1f} |")
    print(f"\n{played} solved runs x {arguments.episodes} episodes: {len(false)} false")
    for line in false:
        print(line)
    if false or not played:
        sys.exit("no solved run was found" if not played else 1)


def directory_of(path, directories):
    return next(directory for directory in directories if path.is_relative_to(directory))


if __name__ == "__main__":
    main()
