//! What a learner tells of its run to whoever asks, and how it travels. The service fills it in, `inquiry` reads it.

use crate::handover::ledger::Account;
use crate::handover::run_state::RunState;
use impala_common::wire::{WireError, pb};
use serde::Serialize;
use std::fmt;

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
    /// Updates.
    pub updates: u64,
    /// Episodes ended.
    pub episodes: u64,
    /// Mean of the last 100 episodes.
    pub mean_return: Option<f64>,
    /// Whether that has reached the goal.
    pub solved: bool,
    /// Actors with an open trajectory stream.
    pub actors_connected: u32,
    /// Every trajectory.
    pub account: Account,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.reason.is_empty() { "" } else { ": " };
        let mean = self.mean_return.map_or("-".into(), |mean| format!("{mean:.2}"));
        let solved = if self.solved { ", solved" } else { "" };
        writeln!(f, "state         {}{separator}{}", self.state, self.reason)?;
        writeln!(f, "environment   {}", self.environment)?;
        writeln!(f, "actors        {} connected", self.actors_connected)?;
        writeln!(f, "trained       {} frames in {} updates, {} episodes", self.frames, self.updates, self.episodes)?;
        writeln!(f, "mean return   {mean} over the last 100 episodes{solved}")?;
        write!(f, "trajectories  {}", self.account)
    }
}

impl From<Status> for pb::StatusReply {
    fn from(status: Status) -> Self {
        let state = match status.state {
            RunState::Waiting => pb::RunState::Waiting,
            RunState::Training => pb::RunState::Training,
            RunState::Completed => pb::RunState::Completed,
            RunState::Stopping => pb::RunState::Stopping,
        };
        let Account { produced, trained, refused_stale, refused_invalid, refused_shutdown, lost } = status.account;
        Self {
            state: state.into(),
            reason: status.reason,
            environment: status.environment,
            frames: status.frames,
            updates: status.updates,
            episodes: status.episodes,
            mean_return: status.mean_return,
            solved: status.solved,
            actors_connected: status.actors_connected,
            account: Some(pb::Account { produced, trained, refused_stale, refused_invalid, refused_shutdown, lost }),
        }
    }
}

impl TryFrom<pb::StatusReply> for Status {
    type Error = WireError;

    fn try_from(reply: pb::StatusReply) -> Result<Self, WireError> {
        let unknown = || WireError::Unknown { field: "state", value: reply.state.to_string() };
        let state = match reply.state() {
            pb::RunState::Waiting => RunState::Waiting,
            pb::RunState::Training => RunState::Training,
            pb::RunState::Completed => RunState::Completed,
            pb::RunState::Stopping => RunState::Stopping,
            pb::RunState::Unspecified => return Err(unknown()),
        };
        let account = reply.account.ok_or(WireError::Missing("account"))?;
        let pb::Account { produced, trained, refused_stale, refused_invalid, refused_shutdown, lost } = account;
        Ok(Self {
            state,
            reason: reply.reason,
            environment: reply.environment,
            frames: reply.frames,
            updates: reply.updates,
            episodes: reply.episodes,
            mean_return: reply.mean_return,
            solved: reply.solved,
            actors_connected: reply.actors_connected,
            account: Account { produced, trained, refused_stale, refused_invalid, refused_shutdown, lost },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(state: RunState) -> Status {
        Status {
            state,
            reason: "solved".into(),
            environment: "cartpole-v1".into(),
            frames: 80,
            updates: 1,
            episodes: 2,
            mean_return: Some(20.5),
            solved: true,
            actors_connected: 3,
            account: Account { produced: 3, trained: 1, lost: 1, ..Account::default() },
        }
    }

    #[test]
    fn every_state_survives_the_wire() {
        for state in RunState::ALL {
            let status = status(state);
            assert_eq!(Status::try_from(pb::StatusReply::from(status.clone())), Ok(status));
        }
        let reply = pb::StatusReply { state: 99, ..status(RunState::Training).into() };
        let error = Status::try_from(reply).unwrap_err();
        assert_eq!(error, WireError::Unknown { field: "state", value: "99".into() });
    }

    #[test]
    fn people_read_state_reason_and_account() {
        let text = status(RunState::Completed).to_string();
        for part in ["state         completed: solved", "3 connected", "80 frames in 1 updates", "20.50", "1 in flight"]
        {
            assert!(text.contains(part), "`{part}` is not in:\n{text}");
        }
    }
}
