"""A rollout that gymnasium makes by itself, as bytes on standard output, for worker/tests/gymnasium.rs to compare with.

    python reference.py NAME ARGUMENTS STEPS SEED..

It knows nothing of impala_gym. Environments are stepped by gymnasium's own `SyncVectorEnv`, or are a `VectorEnv` themselves.
"""

import json
import os
import sys

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode


def main(name, arguments, steps, seeds):
    """Write observations and masks, then for each step observations and masks, rewards, outcomes and final observations."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    module, _, registered = name.rpartition(":")
    if module:
        __import__(module)
    if gymnasium.spec(registered).entry_point is None:
        envs = gymnasium.make_vec(registered, len(seeds), vectorization_mode="vector_entry_point", **arguments)
    else:
        same_step = {"autoreset_mode": AutoresetMode.SAME_STEP}
        envs = gymnasium.make_vec(registered, len(seeds), vectorization_mode="sync", vector_kwargs=same_step, **arguments)
    observations, infos = envs.reset(seed=seeds)
    masks = infos.get("action_mask")
    out.write(packed(envs, observations) + mask_bytes(masks))
    for step in range(steps):
        chosen = np.stack([action(envs.single_action_space, masks, step, index) for index in range(len(seeds))])
        observations, rewards, terminated, truncated, infos = envs.step(chosen)
        masks = infos.get("action_mask")
        out.write(packed(envs, observations) + mask_bytes(masks))
        out.write(rewards.astype("<f4").tobytes())
        cut = truncated & ~terminated
        out.write((terminated + 2 * cut).astype(np.uint8).tobytes())
        for index in np.flatnonzero(cut):
            out.write(packed(envs, np.asarray(infos["final_obs"][index])[None]))
    out.close()


def packed(envs, observations):
    """What the protocol makes of observations."""
    space = envs.single_observation_space
    if isinstance(space, spaces.Discrete):
        return np.eye(space.n, dtype="<f4")[observations - space.start].tobytes()
    return observations.astype(np.uint8 if space.dtype == np.uint8 else "<f4").tobytes()


def mask_bytes(masks):
    """None where there are no masks."""
    return b"" if masks is None else np.asarray(masks).astype(np.uint8).tobytes()


def action(space, masks, step, index):
    """A spread of the allowed actions, the same that the test takes."""
    pick = [step * 31 + index * 17 + component * 7 for component in range(int(np.prod(space.shape)))]
    if isinstance(space, spaces.Discrete):
        allowed = np.arange(space.n) if masks is None else np.flatnonzero(masks[index])
        return space.start + allowed[pick[0] % len(allowed)]
    if isinstance(space, spaces.Box):
        parts = (np.array(pick) % 11).astype(np.float32) / np.float32(10)
        return (space.low.ravel() + (space.high - space.low).ravel() * parts).reshape(space.shape).astype(space.dtype)
    choices = space.nvec if isinstance(space, spaces.MultiDiscrete) else np.full(space.shape, 2)
    return (np.array(pick) % choices.ravel()).reshape(space.shape).astype(space.dtype)


main(sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3]), [int(seed) for seed in sys.argv[4:]])
