"""Writes env/tests/data/control-traces.json: steps of gymnasium's classic control environments, which the tests of `impala-env` repeat.

    python3 -m venv VENV
    VENV/bin/pip install gymnasium numpy
    VENV/bin/python scripts/make-control-traces.py

Each step is recorded by itself, with the whole state before and after it, so that a test compares one step at a time and no error adds
up. Of the episodes of each policy some steps are kept, among them the first and the last ones; besides there are steps from
states drawn from everywhere, which episodes come to seldom. The output depends on the versions of gymnasium and numpy alone.
"""

import json
import math
import pathlib

import gymnasium
import numpy as np

STEPS_KEPT = 24
STEPS_DRAWN = 40


def swing(state, _):
    """Pushes the way that the system moves."""
    velocity = state[-1] if len(state) == 2 else state[2]
    return 1.0 if velocity > 0 else -1.0


def against(state, _):
    return -swing(state, _)


def draw(_, rng):
    return rng.uniform(-1.0, 1.0)


def rest(_, __):
    return 0.0


# Of each: gymnasium's name, the bounds of drawn states.
ENVIRONMENTS = {
    "acrobot-v1": ("Acrobot-v1", [math.pi, math.pi, 4 * math.pi, 9 * math.pi]),
    "mountain-car-v0": ("MountainCar-v0", [(-1.2, 0.6), 0.07]),
    "mountain-car-continuous-v0": ("MountainCarContinuous-v0", [(-1.2, 0.6), 0.07]),
    "pendulum-v1": ("Pendulum-v1", [25.0, 8.0]),
}
# Of episodes, and of the random numbers that policies draw.
SEEDS = {swing: 1, against: 2, draw: 3, rest: 4}


def action_of(space, push):
    """The action that pushes so much, from -1 to 1."""
    if isinstance(space, gymnasium.spaces.Discrete):
        return int(round(push)) + 1
    return np.array([push * space.high[0]], dtype=np.float32)


def set_state(environment, state):
    """Gymnasium keeps the state of the continuous car in single precision, except from a reset to the first step."""
    dtype = np.float32 if environment.spec.id.startswith("MountainCarContinuous") else np.float64
    environment.unwrapped.state = np.array(state, dtype=dtype)


def record(environment, steps, push):
    before = [float(x) for x in environment.unwrapped.state]
    action = action_of(environment.action_space, push)
    observation, reward, terminated, truncated, _ = environment.step(action)
    return {
        "steps": steps,
        "before": before,
        "action": float(np.ravel(action)[0]),
        "after": [float(x) for x in environment.unwrapped.state],
        # As short as a number in single precision is read back.
        "observation": [float(str(x)) for x in np.asarray(observation, dtype=np.float32)],
        "reward": float(reward),
        "terminated": bool(terminated),
        "truncated": bool(truncated),
    }


def episode(environment, policy):
    rng = np.random.default_rng(SEEDS[policy])
    environment.reset(seed=SEEDS[policy])
    set_state(environment, environment.unwrapped.state)
    steps = []
    while not steps or not (steps[-1]["terminated"] or steps[-1]["truncated"]):
        steps.append(record(environment, len(steps), policy(environment.unwrapped.state, rng)))
    kept = set(np.linspace(0, len(steps) - 3, STEPS_KEPT - 2).astype(int)) | {len(steps) - 2, len(steps) - 1}
    return [steps[i] for i in sorted(kept) if i >= 0]


def drawn(environment, bounds):
    rng = np.random.default_rng(5)
    steps = []
    while len(steps) < STEPS_DRAWN:
        environment.reset(seed=len(steps))
        pairs = [bound if isinstance(bound, tuple) else (-bound, bound) for bound in bounds]
        set_state(environment, [rng.uniform(low, high) for low, high in pairs])
        steps.append(record(environment, 0, draw(None, rng)))
    return steps


def main():
    traces = {}
    for name, (gymnasium_name, bounds) in ENVIRONMENTS.items():
        environment = gymnasium.make(gymnasium_name, disable_env_checker=True)
        steps = [step for policy in SEEDS for step in episode(environment, policy)]
        traces[name] = steps + drawn(environment, bounds)
        ends = [sum(step[end] for step in traces[name]) for end in ("terminated", "truncated")]
        print(f"{name}: {len(traces[name])} steps, {ends[0]} terminated, {ends[1]} truncated")
    file = {"gymnasium": gymnasium.__version__, "numpy": np.__version__, "steps": traces}
    path = pathlib.Path(__file__).resolve().parents[1] / "env/tests/data/control-traces.json"
    path.write_text(json.dumps(file, separators=(",", ":")).replace('{"steps":', '\n{"steps":') + "\n")
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
