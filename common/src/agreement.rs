//! The agreement of one actor with the learner: made once at registration, checked there, fixed afterwards.
//! Hyperparameters live at the learner; of a run an actor is told this, and by [`TakeUp`] where to go on.

use crate::ids::{ActorIndex, Sequence, Session, WeightsVersion};
use crate::snapshot::Encoding;
use crate::trajectory::TrajectoryShape;
use bytes::Bytes;
use impala_env::space::SpaceError;
use impala_env::spec::EnvironmentSpec;
use impala_policy::network::{HIDDEN_LAYERS_MAX, NetworkSpec, PARAMETER_COUNT_MAX};

/// Version of the wire contract. Raised when a peer of the older version could not work with the newer one.
pub const PROTOCOL_VERSION: u32 = 3;
/// Most steps in one unroll.
pub const UNROLL_LENGTH_MAX: usize = 4096;
/// Most environments in one actor process.
pub const ENVIRONMENTS_MAX: usize = 65_536;
/// Largest trajectory or snapshot on the wire, bytes; both sides refuse more.
pub const MESSAGE_BYTES_MAX: usize = 1 << 30;
/// Most unanswered trajectories of one actor.
pub const IN_FLIGHT_MAX: usize = 64;

/// Everything an actor needs to know to work for a learner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// Names this registration on the streams.
    pub session: Session,
    /// The actor's place in the run.
    pub actor_index: ActorIndex,
    /// What to step.
    pub environment: EnvironmentSpec,
    /// What to act with.
    pub network: NetworkSpec,
    /// T: steps in one unroll.
    pub unroll_length: usize,
    /// N: environments that the actor steps at once.
    pub environments_per_actor: usize,
    /// What the actor's draws begin with: the run's seed; another one for who comes after another actor at its place, or to a run that
    /// goes on, but for a deterministic one.
    pub seed: u64,
    /// How weights will arrive.
    pub encoding: Encoding,
    /// Most trajectories without a receipt.
    pub in_flight_max: usize,
    /// The order of trajectories, in a deterministic run.
    pub lockstep: Option<Lockstep>,
}

/// Order of a deterministic run: trajectories are trained in the order (sequence, actor index), and each is made with the
/// weights that result from training everything before its own batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lockstep {
    /// Actors in the run; training waits for all of them.
    pub actors: u32,
    /// Trajectories in one batch.
    pub trajectories_per_batch: u32,
}

impl Lockstep {
    /// Position of a trajectory in the run's total order.
    pub fn position(self, actor: ActorIndex, sequence: Sequence) -> u64 {
        sequence.0 * u64::from(self.actors) + u64::from(actor.0)
    }

    /// The actor's first trajectory after `trained` batches.
    pub fn first_after(self, trained: u64, actor: ActorIndex) -> Sequence {
        let done = trained.saturating_mul(self.trajectories_per_batch.into());
        Sequence(done.saturating_sub(actor.0.into()).div_ceil(self.actors.into()))
    }

    /// The only version of the weights that may make this trajectory: the number of whole batches before its position.
    /// Training cannot get past this version without the trajectory, so the newest published version reaches exactly it.
    pub fn version_for(self, actor: ActorIndex, sequence: Sequence) -> WeightsVersion {
        WeightsVersion(self.position(actor, sequence) / u64::from(self.trajectories_per_batch))
    }
}

/// Where an actor of a deterministic run goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TakeUp {
    /// Its first trajectory.
    pub next: Sequence,
    /// State of the actor after the trajectory before, in the actor's own format; empty at the start of a run.
    pub state: Bytes,
}

/// An agreement that cannot be kept.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{field} {value} {requirement}")]
pub struct AgreementError {
    /// The field of the registration reply.
    pub field: &'static str,
    /// Its value.
    pub value: String,
    /// What it must satisfy.
    pub requirement: String,
}

impl Agreement {
    /// The shape of every trajectory.
    pub fn trajectory_shape(&self) -> TrajectoryShape {
        TrajectoryShape::new(self.unroll_length, self.environments_per_actor, &self.environment, &self.network.head)
    }

    /// Bounds every number before anything is allocated from it.
    ///
    /// # Errors
    /// Names the first field that is out of bounds.
    pub fn validate(&self) -> Result<(), AgreementError> {
        range("unroll_length", self.unroll_length, UNROLL_LENGTH_MAX)?;
        range("environments_per_actor", self.environments_per_actor, ENVIRONMENTS_MAX)?;
        range("in_flight_max", self.in_flight_max, IN_FLIGHT_MAX)?;
        validate_network(&self.environment, &self.network)?;
        range("trajectory bytes", self.trajectory_shape().wire_bytes_max(), MESSAGE_BYTES_MAX)?;
        if let Some(Lockstep { actors, trajectories_per_batch }) = self.lockstep {
            range("lockstep.actors", actors as usize, u32::MAX as usize)?;
            range("lockstep.trajectories_per_batch", trajectories_per_batch as usize, u32::MAX as usize)?;
            if self.actor_index.0 >= actors {
                let value = self.actor_index.to_string();
                let requirement = format!("is not below the {actors} actors of this lockstep run");
                return Err(AgreementError { field: "actor_index", value, requirement });
            }
        }
        Ok(())
    }
}

/// Bounds the sizes of a network before anything is allocated from them, and holds it to its environment.
///
/// # Errors
/// Names the first field that is out of bounds.
pub fn validate_network(environment: &EnvironmentSpec, network: &NetworkSpec) -> Result<(), AgreementError> {
    if let Err(SpaceError { field, value, bounds }) = environment.validate() {
        return Err(AgreementError { field, value, requirement: format!("is not {bounds}") });
    }
    range("hidden layers", network.hidden.len() + 1, HIDDEN_LAYERS_MAX + 1)?;
    network.hidden.iter().try_for_each(|width| range("hidden width", *width, PARAMETER_COUNT_MAX))?;
    range("parameter_count", network.parameter_count(), PARAMETER_COUNT_MAX)?;
    let (observation_len, expected) = (network.observation_len, environment.observation_len());
    if observation_len != expected {
        let (value, requirement) = (observation_len.to_string(), format!("is not the environment's {expected}"));
        return Err(AgreementError { field: "network.observation_len", value, requirement });
    }
    if !network.head.fits(environment) {
        let requirement = format!("does not fit the environment's {}", environment.actions);
        return Err(AgreementError { field: "network.head", value: network.head.to_string(), requirement });
    }
    Ok(())
}

fn range(field: &'static str, value: usize, max: usize) -> Result<(), AgreementError> {
    if (1..=max).contains(&value) {
        return Ok(());
    }
    Err(AgreementError { field, value: value.to_string(), requirement: format!("is not between 1 and {max}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use impala_env::space::{ActionSpace, ObservationSpace};
    use impala_policy::activation::Activation;
    use impala_policy::network::PolicyHead;

    pub(crate) fn agreement() -> Agreement {
        let environment = EnvironmentSpec::new("cartpole-v1", ObservationSpace::vector(4), ActionSpace::Discrete(2));
        Agreement {
            session: Session(1),
            actor_index: ActorIndex(0),
            network: NetworkSpec {
                observation_len: environment.observation_len(),
                hidden: vec![64, 64],
                activation: Activation::Tanh,
                head: PolicyHead::of(&environment, false),
                normalises: false,
            },
            environment,
            unroll_length: 20,
            environments_per_actor: 8,
            seed: 1,
            encoding: Encoding::F16Delta,
            in_flight_max: 2,
            lockstep: None,
        }
    }

    #[test]
    fn a_run_is_taken_up_where_its_order_was_left() {
        for (actors, trajectories_per_batch) in [(1, 1), (2, 3), (3, 2), (5, 5), (4, 1)] {
            let lockstep = Lockstep { actors, trajectories_per_batch };
            for trained in 0..7 {
                let done = trained * u64::from(trajectories_per_batch);
                for actor in (0..actors).map(ActorIndex) {
                    let Sequence(first) = lockstep.first_after(trained, actor);
                    assert!(lockstep.position(actor, Sequence(first)) >= done);
                    assert!(first == 0 || lockstep.position(actor, Sequence(first - 1)) < done);
                }
            }
        }
    }

    #[test]
    fn a_sound_agreement_passes() {
        assert_eq!(agreement().validate(), Ok(()));
    }

    #[test]
    fn each_bad_field_is_named() {
        let bad = |change: fn(&mut Agreement)| {
            let mut agreement = agreement();
            change(&mut agreement);
            agreement.validate().unwrap_err().field
        };
        assert_eq!(bad(|a| a.unroll_length = 0), "unroll_length");
        assert_eq!(bad(|a| a.environments_per_actor = ENVIRONMENTS_MAX + 1), "environments_per_actor");
        assert_eq!(bad(|a| a.in_flight_max = 0), "in_flight_max");
        assert_eq!(bad(|a| a.network.hidden = vec![1 << 20, 1 << 20]), "parameter_count");
        assert_eq!(bad(|a| a.network.hidden = vec![64, 0]), "hidden width");
        assert_eq!(bad(|a| a.network.hidden = vec![1; 65]), "hidden layers");
        let huge =
            |a: &mut Agreement| (a.unroll_length, a.environments_per_actor) = (UNROLL_LENGTH_MAX, ENVIRONMENTS_MAX);
        assert_eq!(bad(huge), "trajectory bytes");
        assert_eq!(bad(|a| a.network.observation_len = 5), "network.observation_len");
        assert_eq!(bad(|a| a.network.head = PolicyHead::single(3)), "network.head");
        let lockstep = |a: &mut Agreement| {
            a.lockstep = Some(Lockstep { actors: 1, trajectories_per_batch: 1 });
            a.actor_index = ActorIndex(1);
        };
        assert_eq!(bad(lockstep), "actor_index");
    }

    #[test]
    fn lockstep_version_counts_the_whole_batches_before_a_trajectory() {
        let lockstep = Lockstep { actors: 2, trajectories_per_batch: 2 };
        let version = |actor, sequence| lockstep.version_for(ActorIndex(actor), Sequence(sequence)).0;
        assert_eq!([version(0, 0), version(1, 0), version(0, 1), version(1, 1)], [0, 0, 1, 1]);
        let one_by_one = Lockstep { actors: 2, trajectories_per_batch: 1 };
        let version = |actor, sequence| one_by_one.version_for(ActorIndex(actor), Sequence(sequence)).0;
        assert_eq!([version(0, 0), version(1, 0), version(0, 1), version(1, 1)], [0, 1, 2, 3]);
    }
}
