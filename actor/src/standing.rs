//! What an actor is about, for the probes beside its metrics. `app` and the link's registration change it.

use tokio::sync::watch;

/// What an actor is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It looks for its learner.
    #[default]
    Waiting,
    /// A learner has accepted it.
    Registered,
    /// The learner's run is completed: nothing is to be done until there is another.
    Idle,
}

/// Where the standing is written and read.
pub type StandingSlot = watch::Sender<Standing>;

impl Standing {
    /// What a readiness probe is told.
    ///
    /// # Errors
    /// The actor waits for its learner.
    pub fn readiness(self) -> Result<String, String> {
        match self {
            Self::Waiting => Err("waiting for the learner".into()),
            Self::Registered => Ok("registered with the learner".into()),
            Self::Idle => Ok("idle: the run is completed".into()),
        }
    }
}
