//! How a run stands: what a learner tells of it to whoever asks. How it travels is [`crate::wire`]'s business.

use crate::account::Account;
use serde::Serialize;
use std::fmt;

/// What a learner is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// Fewer actors are connected than a batch needs.
    Waiting,
    /// Training goes on.
    Training,
    /// Training is over, its results are written, and the final model is served.
    Completed,
    /// The learner is shutting down.
    Stopping,
}

impl RunState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Waiting, Self::Training, Self::Completed, Self::Stopping];

    /// The name in metrics and in what people are told.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Training => "training",
            Self::Completed => "completed",
            Self::Stopping => "stopping",
        }
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A run at one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// What the learner is about.
    pub state: RunState,
    /// Why; empty while it trains.
    pub reason: String,
    /// What is learned.
    pub environment: String,
    /// Frames trained.
    pub frames: u64,
    /// Updates of the network.
    pub updates: u64,
    /// Episodes that ended as all that began before them did.
    pub episodes: u64,
    /// Mean of the last 100 of these.
    pub mean_return: Option<f64>,
    /// Whether the task is solved: a policy was verified to reach the goal.
    pub solved: bool,
    /// Whether a policy is being verified; learners of before do not tell.
    pub verifying: bool,
    /// Actors with an open trajectory stream.
    pub actors_connected: u32,
    /// Every trajectory.
    pub account: Account,
    /// The connected actors whose policies are oldest, the worst first; empty if the learner does not tell.
    pub oldest_actors: Vec<ActorLag>,
}

/// How old an actor's trajectories are when they come to be trained, over its last twenty or as many as there are.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ActorLag {
    /// The actor's name.
    pub name: String,
    /// Mean policy lag, updates.
    pub policy_lag_mean: f64,
    /// Share of them that was refused as too old, 0 to 1.
    pub refused: f64,
    /// Seconds between two of them, of the actor's own time; 0 if it does not tell.
    pub trajectory_seconds: f64,
}

impl fmt::Display for ActorLag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:.1}", self.name, self.policy_lag_mean)?;
        if self.refused > 0.0 { write!(f, " ({:.0} % refused)", self.refused * 100.0) } else { Ok(()) }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.reason.is_empty() { "" } else { ": " };
        let mean = self.mean_return.map_or("-".into(), |mean| format!("{mean:.2}"));
        let solved = match (self.solved, self.verifying) {
            (true, _) => ", solved",
            (false, true) => ", verifying that the policy has reached the goal",
            (false, false) => "",
        };
        writeln!(f, "state         {}{separator}{}", self.state, self.reason)?;
        writeln!(f, "environment   {}", self.environment)?;
        writeln!(f, "actors        {} connected", self.actors_connected)?;
        writeln!(f, "trained       {} frames in {} updates, {} episodes", self.frames, self.updates, self.episodes)?;
        writeln!(f, "mean return   {mean} over the last 100 episodes{solved}")?;
        if !self.oldest_actors.is_empty() {
            let actors: Vec<_> = self.oldest_actors.iter().map(ToString::to_string).collect();
            writeln!(f, "policy lag    {} updates, the oldest actors' means", actors.join(", "))?;
        }
        write!(f, "trajectories  {}", self.account)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_state_reason_and_account() {
        let status = Status {
            state: RunState::Completed,
            reason: "solved".into(),
            environment: "cartpole-v1".into(),
            frames: 80,
            updates: 1,
            episodes: 2,
            mean_return: Some(20.5),
            solved: true,
            verifying: false,
            actors_connected: 3,
            account: Account { produced: 3, trained: 1, lost: 1, ..Account::default() },
            oldest_actors: vec![
                ActorLag { name: "pod-7".into(), policy_lag_mean: 41.26, refused: 0.95, trajectory_seconds: 2.0 },
                ActorLag { name: "pod-2".into(), policy_lag_mean: 3.0, refused: 0.0, trajectory_seconds: 0.1 },
            ],
        };
        let verifying = Status { solved: false, verifying: true, ..status.clone() }.to_string();
        assert!(verifying.contains("over the last 100 episodes, verifying that the policy has"), "{verifying}");
        let text = status.to_string();
        for part in [
            "state         completed: solved",
            "3 connected",
            "80 frames in 1 updates",
            "20.50",
            "policy lag    pod-7 41.3 (95 % refused), pod-2 3.0 updates",
            "1 in flight",
        ] {
            assert!(text.contains(part), "`{part}` is not in:\n{text}");
        }
    }
}
