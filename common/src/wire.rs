//! Protobuf messages <-> domain types. Everything that comes from outside is parsed and bounded here; beyond this module
//! a value is valid by construction. Generated types are named only here, in the channel's client, the learner's service and
//! the actor's link.

mod evaluation;
mod model;
mod numbers;
mod spaces;
mod status;

use crate::agreement::{Agreement, AgreementError, Lockstep, TakeUp};
use crate::ids::{ActorIndex, Incarnation, Sequence, Session, WeightsVersion};
use crate::snapshot::{Encoding, Snapshot};
use crate::trajectory::{
    RolloutTime, Trajectory, TrajectoryError, TrajectoryParts, TrajectoryShape, actor_state_bytes_max,
};
use bytes::Bytes;
use impala_env::Outcome;
use impala_env::spec::EnvironmentSpec;
pub use model::ServedModel;
use numbers::{array_from_bytes, array_to_bytes, from_bytes, micros, to_bytes};
use std::time::Duration;

/// The generated messages, client and server of `proto/impala/v1/impala.proto`.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::pedantic)]
pub mod pb {
    tonic::include_proto!("impala.v1");

    /// The compiled description of the contract, for server reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/impala.v1.bin"));
}

/// Metadata of a refused registration: how the run stands, where that tells the actor how to go on.
pub const RUN_STATE_METADATA: &str = "impala-run-state";
/// Its value where training is over for good and the learner stays.
pub const RUN_COMPLETED: &str = "completed";

/// The health service's name for readiness: serving while actors may register or get weights.
pub const HEALTH_LEARNER: &str = "impala.v1.Learner";
/// The same for training: serving until it is over.
pub const HEALTH_TRAINING: &str = "impala.v1.Training";

/// Longest name of a run, characters: as that of a file.
const RUN_NAME_MAX: usize = 255;

/// Why a message is not what it should be.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum WireError {
    /// A field that must be present is not.
    #[error("field `{0}` is missing")]
    Missing(&'static str),
    /// A field has a value that this version does not know.
    #[error("field `{field}` has the unknown value {value}")]
    Unknown {
        /// Name of the field.
        field: &'static str,
        /// Its value.
        value: String,
    },
    /// A field differs from the agreement.
    #[error("field `{field}` is {actual}, agreed was {agreed}")]
    Disagrees {
        /// Name of the field.
        field: &'static str,
        /// What the message has.
        actual: usize,
        /// What was agreed.
        agreed: usize,
    },
    /// Bytes exceed their bound.
    #[error("field `{field}` has {actual} bytes, at most {max} are allowed")]
    TooLong {
        /// Name of the field.
        field: &'static str,
        /// Length in bytes.
        actual: usize,
        /// Its bound.
        max: usize,
    },
    /// Packed bytes do not hold whole numbers.
    #[error("field `{field}` has {bytes} bytes, not a multiple of 4")]
    Packed {
        /// Name of the field.
        field: &'static str,
        /// Length in bytes.
        bytes: usize,
    },
    /// The arrays do not make a trajectory.
    #[error(transparent)]
    Trajectory(#[from] TrajectoryError),
    /// The agreement cannot be kept.
    #[error(transparent)]
    Agreement(#[from] AgreementError),
}

/// What an actor says of itself when it registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Version of the wire contract that the actor speaks.
    pub protocol_version: u32,
    /// Stable across restarts.
    pub actor_name: String,
    /// Random number of the process.
    pub incarnation: Incarnation,
    /// The wanted index.
    pub actor_index: Option<ActorIndex>,
    /// Trajectories that this incarnation has produced so far.
    pub produced: Sequence,
    /// What the actor can run.
    pub environments: Vec<EnvironmentSpec>,
    /// What the actor can decode.
    pub encodings: Vec<Encoding>,
    /// Whether it takes weights with its receipts.
    pub weights_in_receipts: bool,
    /// Whether it reads payloads that are stored without compression.
    pub stored_payloads: bool,
    /// Whether it can be handed evaluations.
    pub evaluates: bool,
}

impl From<Registration> for pb::RegisterRequest {
    fn from(registration: Registration) -> Self {
        Self {
            protocol_version: registration.protocol_version,
            actor_name: registration.actor_name,
            incarnation: registration.incarnation.0,
            actor_index: registration.actor_index.map(|index| index.0),
            produced: registration.produced.0,
            environments: registration.environments.into_iter().map(Into::into).collect(),
            encodings: registration.encodings.iter().map(|e| pb::Encoding::from(*e).into()).collect(),
            weights_in_receipts: Some(registration.weights_in_receipts),
            stored_payloads: Some(registration.stored_payloads),
            evaluates: Some(registration.evaluates),
        }
    }
}

impl From<pb::RegisterRequest> for Registration {
    /// Encodings and spaces that this version does not know are left out: a newer actor may offer more.
    fn from(request: pb::RegisterRequest) -> Self {
        Self {
            protocol_version: request.protocol_version,
            actor_name: request.actor_name,
            incarnation: Incarnation(request.incarnation),
            actor_index: request.actor_index.map(ActorIndex),
            produced: Sequence(request.produced),
            environments: request.environments.into_iter().filter_map(|spec| spec.try_into().ok()).collect(),
            encodings: request.encodings.into_iter().filter_map(|e| encoding(e).ok()).collect(),
            weights_in_receipts: request.weights_in_receipts.unwrap_or(false),
            stored_payloads: request.stored_payloads.unwrap_or(false),
            evaluates: request.evaluates.unwrap_or(false),
        }
    }
}

impl From<Agreement> for pb::RegisterReply {
    fn from(agreement: Agreement) -> Self {
        Self {
            session: session_to_pb(agreement.session),
            actor_index: agreement.actor_index.0,
            environment: Some(agreement.environment.into()),
            network: Some(agreement.network.into()),
            unroll_length: wire_len(agreement.unroll_length),
            environments_per_actor: wire_len(agreement.environments_per_actor),
            seed: agreement.seed,
            encoding: pb::Encoding::from(agreement.encoding).into(),
            in_flight_max: wire_len(agreement.in_flight_max),
            lockstep: agreement.lockstep.map(|lockstep| pb::Lockstep {
                actors: lockstep.actors,
                trajectories_per_batch: lockstep.trajectories_per_batch,
            }),
            take_up: None,
            weights_in_receipts: None,
            run: None,
        }
    }
}

impl From<TakeUp> for pb::TakeUp {
    fn from(take_up: TakeUp) -> Self {
        Self { next_sequence: take_up.next.0, actor_state: take_up.state }
    }
}

impl From<pb::TakeUp> for TakeUp {
    fn from(take_up: pb::TakeUp) -> Self {
        Self { next: Sequence(take_up.next_sequence), state: take_up.actor_state }
    }
}

/// Name of the run as a learner tells it, for logs: no longer than a file's.
pub fn run_name(told: &str) -> String {
    told.chars().take(RUN_NAME_MAX).collect()
}

impl TryFrom<pb::RegisterReply> for Agreement {
    type Error = WireError;

    fn try_from(reply: pb::RegisterReply) -> Result<Self, WireError> {
        let environment = reply.environment.ok_or(WireError::Missing("environment"))?.try_into()?;
        let network = reply.network.ok_or(WireError::Missing("network"))?.try_into()?;
        let agreement = Self {
            session: session_from_pb(&reply.session)?,
            actor_index: ActorIndex(reply.actor_index),
            environment,
            network,
            unroll_length: reply.unroll_length as usize,
            environments_per_actor: reply.environments_per_actor as usize,
            seed: reply.seed,
            encoding: encoding(reply.encoding)?,
            in_flight_max: reply.in_flight_max as usize,
            lockstep: reply.lockstep.map(|lockstep| Lockstep {
                actors: lockstep.actors,
                trajectories_per_batch: lockstep.trajectories_per_batch,
            }),
        };
        agreement.validate()?;
        Ok(agreement)
    }
}

impl From<&Trajectory> for pb::Trajectory {
    fn from(trajectory: &Trajectory) -> Self {
        let shape = trajectory.shape();
        let outcomes: Vec<u8> = trajectory.outcomes.iter().map(|o| *o as u8).collect();
        let time = trajectory.time();
        Self {
            sequence: trajectory.sequence.0,
            weights_version: trajectory.weights_version.0,
            unroll_length: wire_len(shape.unroll_length),
            environments: wire_len(shape.environments),
            observations: array_to_bytes(&trajectory.observations),
            actions: array_to_bytes(&trajectory.actions),
            masks: trajectory.masks.clone().into(),
            behaviour_log_probs: to_bytes(&trajectory.behaviour_log_probs),
            rewards: to_bytes(&trajectory.rewards),
            outcomes: outcomes.into(),
            final_observations: array_to_bytes(&trajectory.final_observations),
            room_wait_micros: Some(micros(time.room)),
            weights_wait_micros: Some(micros(time.weights)),
            unroll_micros: Some(micros(time.unroll)),
            actor_state: trajectory.actor_state().cloned(),
        }
    }
}

/// Parses a trajectory that must have the agreed shape.
///
/// # Errors
/// Names the field that is missing, malformed or differs from the agreement.
pub fn trajectory_from_pb(message: &pb::Trajectory, agreed: &TrajectoryShape) -> Result<Trajectory, WireError> {
    let sizes = [
        ("unroll_length", message.unroll_length as usize, agreed.unroll_length),
        ("environments", message.environments as usize, agreed.environments),
    ];
    for (field, actual, agreed) in sizes {
        if actual != agreed {
            return Err(WireError::Disagrees { field, actual, agreed });
        }
    }
    let outcome = |byte: &u8| {
        let unknown = || WireError::Unknown { field: "outcomes", value: byte.to_string() };
        Outcome::from_u8(*byte).ok_or_else(unknown)
    };
    let dtype = agreed.spec().observations.dtype;
    let parts = TrajectoryParts {
        sequence: Sequence(message.sequence),
        weights_version: WeightsVersion(message.weights_version),
        observations: array_from_bytes("observations", &message.observations, dtype)?,
        actions: array_from_bytes("actions", &message.actions, agreed.spec().actions.dtype())?,
        masks: message.masks.to_vec(),
        behaviour_log_probs: from_bytes("behaviour_log_probs", &message.behaviour_log_probs)?,
        rewards: from_bytes("rewards", &message.rewards)?,
        outcomes: message.outcomes.iter().map(outcome).collect::<Result<_, _>>()?,
        final_observations: array_from_bytes("final_observations", &message.final_observations, dtype)?,
    };
    let duration = |micros: Option<u32>| Duration::from_micros(micros.unwrap_or_default().into());
    let time = RolloutTime {
        room: duration(message.room_wait_micros),
        weights: duration(message.weights_wait_micros),
        unroll: duration(message.unroll_micros),
    };
    let actor_state = message.actor_state.clone();
    let (actual, max) = (
        actor_state.as_ref().map_or(0, Bytes::len),
        actor_state_bytes_max(agreed.environments, agreed.observation_len()),
    );
    if actual > max {
        return Err(WireError::TooLong { field: "actor_state", actual, max });
    }
    Ok(Trajectory::try_new(agreed.clone(), parts)?.with_time(time).with_actor_state(actor_state))
}

/// The bytes that name a session.
pub fn session_to_pb(session: Session) -> Bytes {
    Bytes::copy_from_slice(&session.0.to_be_bytes())
}

/// The session that bytes name.
///
/// # Errors
/// They are not 16.
pub fn session_from_pb(bytes: &[u8]) -> Result<Session, WireError> {
    let length = size_of::<Session>();
    let wrong = |_| WireError::Disagrees { field: "session", actual: bytes.len(), agreed: length };
    bytes.try_into().map(u128::from_be_bytes).map(Session).map_err(wrong)
}

impl From<&Snapshot> for pb::Snapshot {
    fn from(snapshot: &Snapshot) -> Self {
        Self {
            version: snapshot.version.0,
            encoding: pb::Encoding::from(snapshot.encoding).into(),
            base_version: snapshot.base.map(|version| version.0),
            parameter_count: snapshot.parameter_count as u64,
            checksum: snapshot.checksum,
            payload: snapshot.payload.clone(),
            stored: snapshot.stored,
        }
    }
}

impl TryFrom<pb::Snapshot> for Snapshot {
    type Error = WireError;

    fn try_from(message: pb::Snapshot) -> Result<Self, WireError> {
        Ok(Self {
            version: WeightsVersion(message.version),
            encoding: encoding(message.encoding)?,
            base: message.base_version.map(WeightsVersion),
            parameter_count: usize::try_from(message.parameter_count).unwrap_or(usize::MAX),
            checksum: message.checksum,
            payload: message.payload,
            stored: message.stored,
        })
    }
}

impl From<Encoding> for pb::Encoding {
    fn from(encoding: Encoding) -> Self {
        match encoding {
            Encoding::F32 => Self::F32,
            Encoding::F16 => Self::F16,
            Encoding::Bf16 => Self::Bf16,
            Encoding::F32Delta => Self::F32Delta,
            Encoding::F16Delta => Self::F16Delta,
            Encoding::Bf16Delta => Self::Bf16Delta,
        }
    }
}

fn encoding(value: i32) -> Result<Encoding, WireError> {
    let known = pb::Encoding::try_from(value).unwrap_or_default();
    let same = |e: &Encoding| pb::Encoding::from(*e) == known;
    let unknown = WireError::Unknown { field: "encoding", value: value.to_string() };
    Encoding::ALL.into_iter().find(same).ok_or(unknown)
}

/// Sizes are bounded far below 2^32 where they are chosen; a saturated one is refused by the receiver's checks.
fn wire_len(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
