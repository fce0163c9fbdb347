//! The status of a run on the wire.

use super::{WireError, pb};
use crate::account::Account;
use crate::status::{ActorLag, RunState, Status};

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
            verifying: Some(status.verifying),
            actors_connected: status.actors_connected,
            account: Some(pb::Account { produced, trained, refused_stale, refused_invalid, refused_shutdown, lost }),
            oldest_actors: status.oldest_actors.into_iter().map(Into::into).collect(),
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
            verifying: reply.verifying.unwrap_or_default(),
            actors_connected: reply.actors_connected,
            account: Account { produced, trained, refused_stale, refused_invalid, refused_shutdown, lost },
            oldest_actors: reply.oldest_actors.into_iter().map(Into::into).collect(),
        })
    }
}

impl From<ActorLag> for pb::ActorLag {
    fn from(actor: ActorLag) -> Self {
        let ActorLag { name, policy_lag_mean, refused, trajectory_seconds } = actor;
        Self { name, policy_lag_mean, refused, trajectory_seconds }
    }
}

impl From<pb::ActorLag> for ActorLag {
    fn from(actor: pb::ActorLag) -> Self {
        let pb::ActorLag { name, policy_lag_mean, refused, trajectory_seconds } = actor;
        Self { name, policy_lag_mean, refused, trajectory_seconds }
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
            verifying: true,
            actors_connected: 3,
            account: Account { produced: 3, trained: 1, lost: 1, ..Account::default() },
            oldest_actors: vec![ActorLag {
                name: "pod-7".into(),
                policy_lag_mean: 41.5,
                refused: 0.95,
                trajectory_seconds: 2.0,
            }],
        }
    }

    #[test]
    fn every_state_survives_the_wire() {
        for state in RunState::ALL {
            let status = status(state);
            assert_eq!(Status::try_from(pb::StatusReply::from(status.clone())), Ok(status));
        }
        // A learner of before tells neither.
        let reply = pb::StatusReply { verifying: None, oldest_actors: vec![], ..status(RunState::Training).into() };
        let read = Status::try_from(reply).unwrap();
        assert!(!read.verifying && read.oldest_actors.is_empty());
        let reply = pb::StatusReply { state: 99, ..status(RunState::Training).into() };
        let error = Status::try_from(reply).unwrap_err();
        assert_eq!(error, WireError::Unknown { field: "state", value: "99".into() });
    }
}
