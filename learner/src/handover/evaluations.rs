//! Evaluations by actors, for a learner that cannot make its environment: the desk between who wants a policy evaluated and the
//! trajectory streams of the actors that offer to do it.
//!
//! Whoever wants one leaves it at the desk and waits, on a thread of its own. The stream of an actor has a [`Seat`]: it takes what is
//! open, one at a time, and brings what the actor found, which is checked against what was asked for. What a lost actor had is open
//! again. Nothing here trains or counts: what actors find is told by who asked.
//!
//! Memory: a copy of the parameters for each evaluation, of which there are as many as threads that wait, at most two.

mod check;
mod jobs;

use crate::handover::metrics::record_actor_evaluation;
use impala_common::evaluation::{Assignment, Findings};
use impala_common::ids::WeightsVersion;
use impala_common::snapshot::{self, NumberFormat, Words};
use impala_env::EnvironmentKind;
use impala_policy::evaluate::{self, EvaluateError, Evaluation, EvaluationPlan};
use impala_policy::network::NetworkSpec;
use jobs::Jobs;
use std::ops::RangeInclusive;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Time between two looks of who waits: whether it is still wanted, and whether somebody else is to be asked.
const LOOK: Duration = Duration::from_millis(100);
/// Time without an actor that evaluates after which that is told.
const LONELY: Duration = Duration::from_secs(10);

/// Where evaluations lie; a cheap handle.
#[derive(Clone, Debug)]
pub struct EvaluationDesk {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// The rewards that a step of the environment can give.
    rewards: RangeInclusive<f32>,
    is_needed: bool,
    jobs: Mutex<Jobs>,
    /// Something was found.
    found: Condvar,
    /// Something may be open.
    offers: watch::Sender<()>,
}

impl EvaluationDesk {
    /// Of a run in this environment. Nobody is asked where this process can make it.
    pub fn of(environment: &EnvironmentKind) -> Self {
        Self::with(environment.rewards().clone(), !environment.can_be_made())
    }

    /// Of one that only actors have, whose steps give these rewards.
    pub fn new(rewards: RangeInclusive<f32>) -> Self {
        Self::with(rewards, true)
    }

    fn with(rewards: RangeInclusive<f32>, is_needed: bool) -> Self {
        let (jobs, found, offers) = (Mutex::default(), Condvar::new(), watch::channel(()).0);
        Self { shared: Arc::new(Shared { rewards, is_needed, jobs, found, offers }) }
    }

    /// Whether actors are asked at all.
    pub fn is_needed(&self) -> bool {
        self.shared.is_needed
    }

    /// The place of a connected actor of this name that evaluates.
    pub fn seat(&self, actor: &str) -> Seat {
        let number = self.lock().sit_down();
        Seat { desk: self.clone(), number, actor: actor.to_owned(), offers: self.shared.offers.subscribe(), held: None }
    }

    /// Has a policy evaluated and waits for it; `is_stopped` is asked now and then.
    ///
    /// # Errors
    /// It was stopped, or one actor after the other failed.
    pub fn play(
        &self,
        (version, parameters): (WeightsVersion, &[f32]),
        plan: EvaluationPlan,
        is_stopped: &dyn Fn() -> bool,
    ) -> Result<Evaluation, EvaluateError> {
        let weights = snapshot::encode(version, &Words::round(NumberFormat::F32, parameters, 0), None);
        let mut jobs = self.lock();
        let id = jobs.leave(|id| Assignment { id, plan, weights });
        self.shared.offers.send_replace(());
        let since = Instant::now();
        let mut is_told = false;
        loop {
            if let Some(result) = jobs.take_result(id) {
                return result.map_err(EvaluateError::Fault);
            }
            if is_stopped() {
                jobs.remove(id);
                return Err(EvaluateError::Stopped);
            }
            let now = Instant::now();
            if jobs.is_open(id, now) {
                self.shared.offers.send_replace(());
            }
            if !is_told && jobs.is_deserted() && now.duration_since(since) >= LONELY {
                is_told = true;
                tracing::warn!(
                    version = version.0,
                    "a policy waits for an actor that can evaluate it: this learner cannot make its environment, and no \
                     connected actor offers to evaluate"
                );
            }
            let waited = self.shared.found.wait_timeout(jobs, LOOK);
            jobs = waited.expect("no holder of the jobs panics").0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.shared.jobs.lock().expect("no holder of the jobs panics")
    }
}

/// The place of one actor's stream at the desk. Dropped, it leaves what it holds to others.
#[derive(Debug)]
pub struct Seat {
    desk: EvaluationDesk,
    number: u64,
    actor: String,
    offers: watch::Receiver<()>,
    held: Option<Arc<Assignment>>,
}

impl Seat {
    /// Waits for something to evaluate; for ever while the actor has not answered what it holds. May be dropped at any time.
    pub async fn next(&mut self) -> Arc<Assignment> {
        loop {
            self.offers.borrow_and_update();
            if self.held.is_none() {
                self.held = self.desk.lock().take(self.number, &self.actor, Instant::now());
                if let Some(assignment) = &self.held {
                    return Arc::clone(assignment);
                }
            }
            // The desk lives as long as its seats.
            let _ = self.offers.changed().await;
        }
    }

    /// The actor says what it found.
    ///
    /// # Errors
    /// It was not asked for that, or it cannot be so; in words.
    pub fn report(&mut self, findings: Findings) -> Result<(), String> {
        let Findings { id, result } = findings;
        let Some(assignment) = self.held.take_if(|held| held.id == id) else {
            return Err(format!("evaluated.id is {id}, which this actor was not asked for"));
        };
        let shared = &self.desk.shared;
        let now = Instant::now();
        let answered = match result {
            Ok(evaluation) => match check::check(&evaluation, &assignment.plan, &shared.rewards) {
                Ok(()) => {
                    if self.desk.lock().succeed(id, evaluation) {
                        record_actor_evaluation("played");
                    }
                    Ok(())
                }
                Err(violation) => {
                    record_actor_evaluation("refused");
                    self.desk.lock().fail((self.number, &self.actor), id, &violation, now);
                    Err(violation)
                }
            },
            Err(reason) => {
                record_actor_evaluation("failed");
                tracing::warn!(actor = self.actor, reason, "an actor could not evaluate a policy");
                self.desk.lock().fail((self.number, &self.actor), id, &reason, now);
                Ok(())
            }
        };
        shared.found.notify_all();
        shared.offers.send_replace(());
        answered
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Self { desk, number, actor, held, .. } = self;
        let mut jobs = desk.lock();
        // It may have been the evaluation that ended the actor: it is not to go through all of them without end.
        let is_lost = held.as_ref().is_some_and(|held| {
            jobs.fail((*number, actor), held.id, "the actor was lost while it evaluated", Instant::now())
        });
        jobs.stand_up(*number);
        drop(jobs);
        if is_lost {
            record_actor_evaluation("lost");
            desk.shared.found.notify_all();
            desk.shared.offers.send_replace(());
        }
    }
}

/// Where policies of a run are evaluated: in this process, or by actors where only those have the environment.
#[derive(Clone, Debug)]
pub struct Arena {
    /// What they play.
    pub environment: EnvironmentKind,
    /// What they are.
    pub network: NetworkSpec,
    /// Where actors are asked.
    pub desk: EvaluationDesk,
}

impl Arena {
    /// Plays as [`evaluate::play`] does, wherever that is.
    ///
    /// # Errors
    /// It was stopped, or the environment could not go on, or no actor could evaluate it.
    pub fn play(
        &self,
        (version, parameters): (WeightsVersion, &[f32]),
        plan: EvaluationPlan,
        is_stopped: &dyn Fn() -> bool,
    ) -> Result<Evaluation, EvaluateError> {
        match self.environment.can_be_made() {
            true => evaluate::play(&self.environment, &self.network, parameters, plan, is_stopped),
            false => self.desk.play((version, parameters), plan, is_stopped),
        }
    }
}

#[cfg(test)]
mod tests;
