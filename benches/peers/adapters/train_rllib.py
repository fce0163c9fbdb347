"""RLlib IMPALA (new API stack) with the settings of its tuned CartPole example, until the harness ends it.

Ray runs on this machine's loopback alone, without dashboard and usage report, with a small object store.
"""

import os

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
# Without it Ray replaces 127.0.0.1 by the machine's address and its servers listen on all interfaces.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"

import ray
from events import arguments, cartpole, emit
from ray.rllib.algorithms.impala import IMPALAConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.tune.registry import register_env

OBJECT_STORE_BYTES = 200 * 2**20
LOGICAL_CPUS = 4
"""Ray's bookkeeping of who may start (two runners and to spare); it pins nothing."""


def config(args):
    is_wide = args.mode == "throughput"
    built = (
        IMPALAConfig()
        .environment("cartpole")
        .training(
            train_batch_size_per_learner=5120 if is_wide else 500,
            grad_clip=40.0,
            grad_clip_by="global_norm",
            lr=0.0005,
            vf_loss_coeff=0.05,
            entropy_coeff=0.0,
        )
        .rl_module(model_config=DefaultModelConfig(vf_share_layers=True))
        # The learner in the main process: as a process of its own it opens a rendezvous port on all interfaces.
        .learners(num_learners=0)
        .reporting(min_time_s_per_iteration=1)
        .debugging(seed=args.seed)
    )
    if is_wide:
        built = built.env_runners(num_env_runners=2, num_envs_per_env_runner=128, rollout_fragment_length=20)
    return built


def main():
    args = arguments()
    ray.init(
        num_cpus=LOGICAL_CPUS,
        num_gpus=0,
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard=False,
        _node_ip_address="127.0.0.1",
        _temp_dir=os.path.join(args.scratch, "ray"),
    )
    try:
        register_env("cartpole", lambda _config: cartpole())
        algorithm = config(args).build_algo()
        while True:
            learners = algorithm.train().get("learners", {})  # None before the first update.
            emit(frames=int(learners.get("__all_modules__", {}).get("num_env_steps_trained_lifetime", 0)))
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
