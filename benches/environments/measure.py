"""Frames and seconds to the goal of environments, by impala and by stable-baselines3, one run after the other: a Markdown table.

`scripts/measure-environments.sh` installs what it needs and calls it. A policy counts as having solved where the mean return of 100
fresh episodes is the goal or more; seconds are from the start of the training, without the start of the processes.
"""

import argparse
import json
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
OURS = [
    ("cartpole-v1", [], "the defaults"),
    ("acrobot-v1", [], "the defaults"),
    ("pendulum-v1", ["--config", "configs/pendulum-v1.toml"], "configs/pendulum-v1.toml"),
    (
        "mountain-car-continuous-v0",
        ["--config", "configs/mountain-car-continuous-v0.toml"],
        "configs/mountain-car-continuous-v0.toml",
    ),
    ("gym:CartPole-v1", [], "the defaults"),
    ("gym:Acrobot-v1", [], "the defaults"),
    # gymnasium states no goal for it.
    ("gym:Pendulum-v1", ["--config", "configs/pendulum-v1.toml", "--solved-return=-200"], "configs/pendulum-v1.toml"),
    (
        "gym:MountainCarContinuous-v0",
        ["--config", "configs/mountain-car-continuous-v0.toml"],
        "configs/mountain-car-continuous-v0.toml",
    ),
    ("gym:LunarLander-v3", ["--config", "configs/lunar-lander-v3.toml"], "configs/lunar-lander-v3.toml"),
]
THEIRS = ["CartPole-v1", "Acrobot-v1", "Pendulum-v1"]


def ours(arguments, environment, flags, seed):
    """Whether it was solved, frames and seconds until then or in all, and what the policy reached."""
    with tempfile.TemporaryDirectory() as room:
        command = [arguments.program, "train", "--quiet", "--environment", environment, "--seed", str(seed)]
        command += ["--python", sys.executable, "--workers", "1", "--time-max", arguments.time_max]
        command += ["--run-dir", f"{room}/run", *flags]
        subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
        summary = json.loads(pathlib.Path(room, "run", "summary.json").read_text())
    solved = summary.get("solved")
    at = solved or {"frames": summary["frames"], "seconds": summary["seconds"]}
    return solved is not None, at["frames"], at["seconds"]


def theirs(environment, seed):
    command = [sys.executable, str(ROOT / "benches/environments/sb3.py"), environment, "--seed", str(seed)]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return told["solved"], told["frames"], told["seconds"]


def row(environment, system, settings, runs):
    solved = [run for run in runs if run[0]]
    spread = lambda numbers, digits: (  # noqa: E731
        f"{statistics.median(numbers):,.{digits}f} ({min(numbers):,.{digits}f} to {max(numbers):,.{digits}f})"
        if numbers
        else f"not within {max(run[1] for run in runs):,} frames, {max(run[2] for run in runs):.0f} s"
    )
    frames = spread([run[1] for run in solved], 0)
    seconds = spread([run[2] for run in solved], 2) if solved else ""
    print(f"| {environment} | {system} | {settings} | {len(solved)} of {len(runs)} | {frames} | {seconds} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(ROOT / "target/release/impala"), help="our program (%(default)s)")
    parser.add_argument("--seeds", type=int, default=5, help="seeds of each of ours (%(default)s)")
    parser.add_argument("--their-seeds", type=int, default=3, help="seeds of each of theirs (%(default)s)")
    parser.add_argument("--time-max", default="10m", help="most time of one of our runs (%(default)s)")
    parser.add_argument("--only", default="", metavar="REGEX", help="rows whose environment has this; all by default")
    arguments = parser.parse_args()
    print("| environment | system | settings | solved | frames: median (least to most) | seconds |\n|---|---|---|---|---|---|")
    for environment, flags, settings in OURS:
        if arguments.seeds and re.search(arguments.only, environment):
            runs = [ours(arguments, environment, flags, seed) for seed in range(1, arguments.seeds + 1)]
            row(environment, "impala", settings, runs)
    for environment in THEIRS:
        if arguments.their_seeds and re.search(arguments.only, environment):
            runs = [theirs(environment, seed) for seed in range(1, arguments.their_seeds + 1)]
            row(environment, "stable-baselines3 PPO", "rl-baselines3-zoo's", runs)


if __name__ == "__main__":
    main()
