"""stable-baselines3 A2C and PPO with rl-baselines3-zoo's hyperparameters for CartPole-v1, until the harness ends it."""

from events import arguments, cartpole, emit
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

# The zoo's n_timesteps: the linear schedules reach 0 there, so a run that needs more is not solved with its settings.
FRAMES = {"a2c": 500_000, "ppo": 100_000}
ENDLESS = 10**9


class TrainedFrames(BaseCallback):
    """A rollout starts when all frames before it have been trained."""

    def _on_rollout_start(self):
        emit(frames=self.num_timesteps)

    def _on_step(self):
        return True


def linear(start):
    return lambda remaining: remaining * start


def main():
    args = arguments(algorithm=["a2c", "ppo"])
    is_wide = args.mode == "throughput"
    env = make_vec_env(cartpole, n_envs=256 if is_wide else 8, seed=args.seed)
    common = {"env": env, "ent_coef": 0.0, "seed": args.seed, "device": "cpu"}
    if args.algorithm == "a2c":
        model = A2C("MlpPolicy", n_steps=20 if is_wide else 5, **common)
    else:
        model = PPO(
            "MlpPolicy",
            n_steps=20 if is_wide else 32,
            batch_size=5120 if is_wide else 256,
            gae_lambda=0.8,
            gamma=0.98,
            n_epochs=20,
            learning_rate=linear(0.001),
            clip_range=linear(0.2),
            **common,
        )
    model.learn(ENDLESS if is_wide else FRAMES[args.algorithm], callback=TrainedFrames())


if __name__ == "__main__":
    main()
