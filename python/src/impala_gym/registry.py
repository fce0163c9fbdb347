"""From the name of an environment to N of them: what gymnasium knows by it, what is missing, and how its episodes begin anew."""

from __future__ import annotations

import difflib
import importlib
import math
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.vector import AutoresetMode

from impala_gym.protocol import Failure
from impala_gym.spaces import actions_of, observation_of
from impala_gym.vector import Batched, Environments, Singles

# Packages that register a namespace when they are imported.
_PACKAGES = {"ALE": ("ale_py", "ale-py")}


def make(name: str, arguments: dict[str, Any], count: int, *, render: bool) -> tuple[Environments, dict[str, Any]]:
    """So many environments of a name, and what a person or a learner may want to know of them."""
    spec = _spec(name)
    arguments = {**arguments, "render_mode": "rgb_array"} if render else arguments
    try:
        if _is_same_step(spec):
            return _batched(spec, name, arguments, count)
        return _singles(spec, name, arguments, count, render=render)
    except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
        raise Failure("missing_module", f"{name}: {error}") from error


def _singles(spec: EnvSpec, name: str, arguments: dict[str, Any], count: int, *, render: bool) -> tuple[Environments, dict[str, Any]]:
    # The checker only warns; what matters is checked here and by the actor.
    environments = [gymnasium.make(spec, disable_env_checker=True, **arguments) for _ in range(count)]
    first = environments[0]
    if render and "rgb_array" not in first.metadata.get("render_modes", []):
        raise Failure("unsupported", f"{name}: it has no render mode rgb_array, so there are no pictures of it")
    observation = observation_of(first.observation_space, name)
    actions = actions_of(first.action_space, name)
    of_all = first.spec or spec
    return Singles(environments, observation, actions), _about(of_all, of_all.max_episode_steps, first.metadata)


def _batched(spec: EnvSpec, name: str, arguments: dict[str, Any], count: int) -> tuple[Environments, dict[str, Any]]:
    environments = gymnasium.make_vec(spec, num_envs=count, vectorization_mode="vector_entry_point", **arguments)
    mode = environments.metadata.get("autoreset_mode")
    if not _means_same_step(mode):
        found = "does not say" if mode is None else f"is {mode}"
        raise Failure(
            "unsupported",
            f"{name}: its autoreset_mode {found}; it must begin episodes anew within the step that ends them: put "
            "`AutoresetMode.SAME_STEP` into its metadata and do so, or register it with an entry_point for one environment",
        )
    observation = observation_of(environments.single_observation_space, name)
    actions = actions_of(environments.single_action_space, name)
    steps_max = arguments.get("max_episode_steps", spec.max_episode_steps)
    return Batched(environments, observation, actions), _about(spec, steps_max, environments.metadata)


def _is_same_step(spec: EnvSpec) -> bool:
    """Whether the environment comes as a `VectorEnv` that is to be used: one that resets as is needed, or the only one there is."""
    entry = spec.vector_entry_point
    if entry is None:
        return False
    if spec.entry_point is None:
        return True
    creator = load_env_creator(entry) if isinstance(entry, str) else entry
    metadata = getattr(creator, "metadata", None) or {}
    return _means_same_step(metadata.get("autoreset_mode"))


def _means_same_step(mode: Any) -> bool:
    return mode in (AutoresetMode.SAME_STEP, AutoresetMode.SAME_STEP.value)


def _about(spec: EnvSpec, steps_max: int | None, metadata: dict[str, Any]) -> dict[str, Any]:
    threshold = spec.reward_threshold
    fps = metadata.get("render_fps")
    return {
        "solved_return": float(threshold) if threshold is not None and math.isfinite(threshold) else None,
        "steps_max": None if steps_max is None else int(steps_max),
        "steps_per_second": None if not fps else max(1, round(fps)),
    }


def _spec(name: str) -> EnvSpec:
    """What is registered by a name, after the module has been imported that the name begins with."""
    module, _, registered = name.rpartition(":")
    namespace = registered.rpartition("/")[0]
    if module:
        _import(module, name, f"module `{module}` must be importable where the actor runs: start it in its directory or set PYTHONPATH")
    elif namespace in _PACKAGES and not any(known.startswith(f"{namespace}/") for known in gymnasium.registry):
        package, distribution = _PACKAGES[namespace]
        gymnasium.register_envs(_import(package, name, f"pip install {distribution}"))
    try:
        return gymnasium.spec(registered)
    except gymnasium.error.Error as error:
        nearest = difflib.get_close_matches(registered, gymnasium.registry, n=3, cutoff=0.5)
        advice = f"the nearest names are {', '.join(nearest)}" if nearest else "`gymnasium.pprint_registry()` lists all names"
        raise Failure("unknown_environment", f"gymnasium knows no environment `{registered}` ({error}): {advice}") from error


def _import(module: str, name: str, fix: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        # It may be there and lack something itself, of which the advice is not true.
        is_missing = module == error.name or module.startswith(f"{error.name}.")
        raise Failure("missing_module", f"{name}: {error}: {fix}" if is_missing else f"{name}: {error}") from error
