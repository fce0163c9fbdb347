//! What actors do: how many there are and what each makes. Goes into the agreement and decides the size of everything on
//! the wire.

use super::section::section;
use super::setting::Bounds;
use super::{ConfigError, invalid};
use impala_common::agreement::{ENVIRONMENTS_MAX, IN_FLIGHT_MAX, MESSAGE_BYTES_MAX, UNROLL_LENGTH_MAX};
use impala_common::trajectory::TrajectoryShape;
use impala_env::spec::EnvironmentSpec;
use impala_policy::network::PolicyHead;

/// Most actors that a run is planned for.
const ACTORS_MAX: usize = 4096;

section! {
    /// What actors do.
    Rollout from GivenRollout, "Actors" {
        actors: u32 = 2, "2 (`train` picks unless --deterministic)", "IMPALA_ACTORS",
            "Actor processes. `train` starts them; a deterministic learner waits for exactly so many; others take any number."
            in Bounds::UpTo(ACTORS_MAX);
        environments_per_actor: usize = 8, "8", "IMPALA_ENVIRONMENTS_PER_ACTOR",
            "N: environments that each actor steps at once."
            in Bounds::UpTo(ENVIRONMENTS_MAX);
        unroll_length: usize = 10, "10", "IMPALA_UNROLL_LENGTH",
            "T: steps in one trajectory (the paper uses 20 to 100)."
            in Bounds::UpTo(UNROLL_LENGTH_MAX);
        in_flight_max: usize = 1, "1", "IMPALA_IN_FLIGHT_MAX",
            "Trajectories that an actor may have on their way to the trainer, 1 to 64. More hide latency and raise policy lag."
            in Bounds::UpTo(IN_FLIGHT_MAX);
    }
}

impl Rollout {
    /// Frames in one trajectory.
    pub fn frames_per_trajectory(&self) -> usize {
        self.unroll_length * self.environments_per_actor
    }

    /// A trajectory must fit into a message.
    pub(super) fn validate(&self, environment: &EnvironmentSpec) -> Result<(), ConfigError> {
        let head = PolicyHead::of(environment, false);
        let shape = TrajectoryShape::new(self.unroll_length, self.environments_per_actor, environment, &head);
        let bytes = shape.wire_bytes_max();
        if bytes <= MESSAGE_BYTES_MAX {
            return Ok(());
        }
        invalid(
            "environments_per_actor",
            self.environments_per_actor,
            format!(
                "gives trajectories of up to {bytes} bytes; keep unroll_length x environments_per_actor so low that they \
                 stay below {MESSAGE_BYTES_MAX}"
            ),
        )
    }
}
