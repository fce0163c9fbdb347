"""Sample Factory APPO with the command line that its gym example gives for CartPole-v1, until the harness ends it."""

import sys

from events import arguments, cartpole, emit
from sample_factory.algo.runners.runner import AlgoObserver
from sample_factory.cfg.arguments import parse_full_cfg, parse_sf_args
from sample_factory.envs.env_utils import register_env
from sample_factory.train import make_runner

ENVIRONMENT = "CartPole-v1"
EXAMPLE = (
    "--algo=APPO --use_rnn=False --num_envs_per_worker=20 --policy_workers_per_policy=2 --recurrence=1 "
    "--with_vtrace=False --batch_size=512 --reward_scale=0.1 --save_every_sec=10 --experiment_summaries_interval=10"
)
WIDE = "--num_workers=2 --num_envs_per_worker=128 --rollout=20 --batch_size=5120"
ENDLESS = "--device=cpu --train_for_env_steps=1000000000 --train_for_seconds=1000000"


class TrainedFrames(AlgoObserver):
    """`env_steps` is the learner's count."""

    def on_training_step(self, runner, _iteration):
        emit(frames=sum(runner.env_steps.values()))


def make_environment(_name, _cfg=None, _env_config=None, render_mode=None):
    return cartpole(render_mode=render_mode)


def main():
    args = arguments()
    register_env(ENVIRONMENT, make_environment)
    flags = EXAMPLE.split() + (WIDE.split() if args.mode == "throughput" else []) + ENDLESS.split()
    flags += [f"--env={ENVIRONMENT}", f"--seed={args.seed}", f"--train_dir={args.scratch}", "--experiment=peer"]
    parser, _ = parse_sf_args(argv=flags)
    _, runner = make_runner(parse_full_cfg(parser, flags))
    runner.register_observer(TrainedFrames())
    status = runner.init()
    return status or runner.run()


if __name__ == "__main__":
    sys.exit(main())
