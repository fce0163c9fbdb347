"""Writes env/tests/data/breakout-traces.json: episodes of MinAtar's Breakout, which the tests of `impala-env` repeat frame by frame.

    python3 -m venv VENV
    VENV/bin/pip install numpy
    VENV/bin/pip install --no-deps minatar
    VENV/bin/python scripts/make-breakout-traces.py

MinAtar is run and nothing of it is kept: the file holds actions, what they led to, and a checksum of what was seen. The rest of what
MinAtar asks for is for its windows and its learning agents.
"""

import importlib.metadata
import json
import pathlib

import numpy as np
from minatar import Environment

# How often policies follow the ball, else they move at random; how often they do so ahead of it, where it is going; seeds of their
# episodes. The paddle meets the ball from below and from the front then, and some episodes are long enough for a second wall.
EPISODES = [(share, ahead, seed) for share in (0.9, 0.97, 1.0) for ahead in (0.0, 0.5, 0.8) for seed in range(4)]
# Two in which the ball meets bricks in two frames on end, which is seldom.
EPISODES += [(0.98, 0.7, 10), (0.98, 0.7, 17)]
FRAMES_MAX = 500
# Ours (nothing, left, right) as indices of the six actions that all of MinAtar's games share.
ACTIONS = [0, 1, 3]


def checksum(value, seen):
    """Goes on with FNV-1a, in 32 bits, over the indices of what is set."""
    for i in np.flatnonzero(seen):
        value = ((value ^ int(i)) * 0x01000193) & 0xFFFFFFFF
    return value


def place(seen, channel):
    row, column = np.argwhere(seen[:, :, channel])[0]
    return int(row), int(column)


def choose(seen, share, ahead, rng):
    if rng.random() >= share:
        return int(rng.integers(3))
    (_, paddle), (_, ball), (_, trail) = (place(seen, channel) for channel in range(3))
    target = ball + (ball - trail if rng.random() < ahead else 0)
    return 0 if target == paddle else 1 if target < paddle else 2


def episode(share, ahead, seed):
    rng = np.random.default_rng(seed)
    game = Environment("breakout", sticky_action_prob=0.0)
    game.seed(seed)
    game.reset()
    start = place(np.array(game.state()), 1)[1] // 9
    record = {"start": start, "actions": "", "rewards": "", "balls": "", "bricks": [], "seen": 0x811C9DC5}
    terminated = False
    while not terminated and len(record["actions"]) < FRAMES_MAX:
        action = choose(np.array(game.state()), share, ahead, rng)
        reward, terminated = game.act(ACTIONS[action])
        seen = np.array(game.state())
        record["actions"] += str(action)
        record["rewards"] += str(int(reward))
        record["balls"] += "".join(map(str, place(seen, 1)))
        record["bricks"].append(int(seen[:, :, 3].sum()))
        record["seen"] = checksum(record["seen"], seen)
    return record | {"terminated": bool(terminated)}


def main():
    episodes = [episode(*numbers) for numbers in EPISODES]
    for numbers, e in zip(EPISODES, episodes):
        print(f"{numbers}: {len(e['actions'])} frames, return {sum(map(int, e['rewards']))}, {e['terminated']=}")
    file = {"minatar": importlib.metadata.version("minatar"), "episodes": episodes}
    path = pathlib.Path(__file__).resolve().parents[1] / "env/tests/data/breakout-traces.json"
    path.write_text(json.dumps(file, separators=(",", ":")).replace('{"start"', '\n{"start"') + "\n")
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
