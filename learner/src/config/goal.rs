//! When a run ends: solved, or out of frames or time. The trainer looks at the frames, the evaluator at the return, the watch over
//! the run at the time.

use super::section::section;
use super::setting::Bounds;
use super::values::Seconds;
use impala_env::EnvironmentKind;
use impala_policy::evaluate::Mode;

section! {
    /// When a run ends.
    Goal from GivenGoal, "Goal and budget" {
        frames_max: u64 = 2_000_000, "2000000", "IMPALA_FRAMES_MAX",
            "Budget, environment frames trained: the run ends unsolved (or after --frames-after-solved) when it is used up."
            in Bounds::AtLeastOne("frame, e.g. 2000000");
        time_max: Seconds = Seconds(600.0), "600 (10m)", "IMPALA_TIME_MAX",
            "Budget, wall time: seconds, or with a unit as in 90s, 10m, 2h."
            in Bounds::SecondsUpTo(1e9);
        solved_return: f64, "the environment's, e.g. cartpole-v1 475, acrobot-v1 -100", "IMPALA_SOLVED_RETURN",
            "Mean return from which the task counts as solved: first of the last 100 training episodes, then of 100 fresh episodes of the policy that came to it. If the goal lies within two standard errors below their mean, 900 more are played and the mean of all 1000 must reach it."
            in Bounds::Finite;
        evaluation: Mode = Mode::Greedy, "greedy", "IMPALA_EVALUATION",
            "How the policy plays the fresh episodes: greedy (the most probable action) or sampled (as in training).";
        verify_every: u64 = 10_000, "10000", "IMPALA_VERIFY_EVERY",
            "Frames trained between two tries to verify that the policy has reached the goal."
            in Bounds::AtLeastOne("frame, e.g. 10000");
        eval_interval: Seconds, "none", "IMPALA_EVAL_INTERVAL",
            "Seconds between two evaluations of the newest policy beside the training, each of --eval-episodes fresh episodes: for people, they decide nothing. Left out, there are none."
            in Bounds::SecondsUpTo(86_400.0);
        eval_episodes: usize = 100, "100", "IMPALA_EVAL_EPISODES",
            "Episodes of each such evaluation."
            in Bounds::UpTo(10_000);
        frames_after_solved: u64 = 0, "0", "IMPALA_FRAMES_AFTER_SOLVED",
            "Frames to train on after solving; the summary tells the worst 100-episode mean in them.";
    }
}

impl Goal {
    /// Mean return from which the task counts as solved.
    pub fn solved_return_of(&self, environment: &EnvironmentKind) -> f64 {
        self.solved_return.unwrap_or(environment.solved_return())
    }
}
