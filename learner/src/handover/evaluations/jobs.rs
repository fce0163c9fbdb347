//! What lies at the desk and who has it: a plain state machine that is told the time.

use impala_common::evaluation::Assignment;
use impala_policy::evaluate::Evaluation;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time after which an evaluation that an actor has is open to another one too; twice as long for each more that has it.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// Failures after which an evaluation is given up.
pub(super) const FAILURES_MAX: usize = 3;
/// Time before an actor that failed may have the same evaluation again: others come first.
pub(super) const RETRY: Duration = Duration::from_secs(5);

/// Evaluations that somebody waits for, and the seats of those who may take one.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    next_id: u64,
    next_seat: u64,
    seats: HashSet<u64>,
    open: Vec<Job>,
}

#[derive(Debug)]
struct Job {
    assignment: Arc<Assignment>,
    /// Seats that have it.
    held_by: Vec<u64>,
    /// When the last of them took it.
    taken: Option<Instant>,
    /// Names of actors that failed, and when.
    failed: Vec<(String, Instant)>,
    result: Option<Result<Evaluation, String>>,
}

impl Job {
    fn is_open(&self, now: Instant) -> bool {
        let holders = u32::try_from(self.held_by.len()).unwrap_or(u32::MAX);
        let patience = PATIENCE.saturating_mul(1 << holders.saturating_sub(1).min(16));
        let is_overdue = self.taken.is_none_or(|taken| now.saturating_duration_since(taken) >= patience);
        self.result.is_none() && (holders == 0 || is_overdue)
    }

    fn may_have(&self, seat: u64, actor: &str, now: Instant) -> bool {
        let is_recent = |at: &Instant| now.saturating_duration_since(*at) < RETRY;
        let has_failed = self.failed.iter().any(|(name, at)| name == actor && is_recent(at));
        !has_failed && !self.held_by.contains(&seat)
    }
}

impl Jobs {
    /// An actor that evaluates is here; gives the number of its seat.
    pub(super) fn sit_down(&mut self) -> u64 {
        self.next_seat += 1;
        self.seats.insert(self.next_seat);
        self.next_seat
    }

    /// It is gone: others may have what it had.
    pub(super) fn stand_up(&mut self, seat: u64) {
        self.seats.remove(&seat);
        self.open.iter_mut().for_each(|job| job.held_by.retain(|holder| *holder != seat));
    }

    /// Whether nobody who evaluates is here.
    pub(super) fn is_deserted(&self) -> bool {
        self.seats.is_empty()
    }

    /// Somebody wants an evaluation; gives its number.
    pub(super) fn leave(&mut self, assignment: impl FnOnce(u64) -> Assignment) -> u64 {
        self.next_id += 1;
        let assignment = Arc::new(assignment(self.next_id));
        self.open.push(Job { assignment, held_by: Vec::new(), taken: None, failed: Vec::new(), result: None });
        self.next_id
    }

    /// What the actor of this seat is to evaluate now.
    pub(super) fn take(&mut self, seat: u64, actor: &str, now: Instant) -> Option<Arc<Assignment>> {
        let is_for_it = |job: &&mut Job| job.is_open(now) && job.may_have(seat, actor, now);
        let job = self.open.iter_mut().find(is_for_it)?;
        job.held_by.push(seat);
        job.taken = Some(now);
        Some(Arc::clone(&job.assignment))
    }

    /// Whether an evaluation is to be offered.
    pub(super) fn is_open(&self, id: u64, now: Instant) -> bool {
        self.job(id).is_some_and(|job| job.is_open(now))
    }

    /// An evaluation came to this; the first counts. Tells whether it is that.
    pub(super) fn succeed(&mut self, id: u64, evaluation: Evaluation) -> bool {
        let Some(job) = self.job_mut(id).filter(|job| job.result.is_none()) else { return false };
        job.result = Some(Ok(evaluation));
        true
    }

    /// The actor of this seat could not make it, or was lost with it. Tells whether anybody still wanted it.
    pub(super) fn fail(&mut self, (seat, actor): (u64, &str), id: u64, reason: &str, now: Instant) -> bool {
        let Some(job) = self.job_mut(id).filter(|job| job.result.is_none()) else { return false };
        job.held_by.retain(|holder| *holder != seat);
        job.failed.push((actor.to_owned(), now));
        if job.failed.len() >= FAILURES_MAX && job.held_by.is_empty() {
            let names: HashSet<_> = job.failed.iter().map(|(name, _)| name.as_str()).collect();
            let (times, actors) = (job.failed.len(), names.len());
            let by = if actors == 1 {
                format!("the actor `{actor}`")
            } else {
                format!("{actors} actors, at last `{actor}`")
            };
            let reason = format!("it failed {times} times, by {by}: {reason}");
            job.result = Some(Err(reason));
        }
        true
    }

    /// What an evaluation came to, if it has; it is nobody's business any more then.
    pub(super) fn take_result(&mut self, id: u64) -> Option<Result<Evaluation, String>> {
        let place = self.open.iter().position(|job| job.assignment.id == id && job.result.is_some())?;
        self.open.swap_remove(place).result
    }

    /// Nobody wants an evaluation any more.
    pub(super) fn remove(&mut self, id: u64) {
        self.open.retain(|job| job.assignment.id != id);
    }

    fn job(&self, id: u64) -> Option<&Job> {
        self.open.iter().find(|job| job.assignment.id == id)
    }

    fn job_mut(&mut self, id: u64) -> Option<&mut Job> {
        self.open.iter_mut().find(|job| job.assignment.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use impala_common::ids::WeightsVersion;
    use impala_common::snapshot::{NumberFormat, Words, encode};
    use impala_policy::evaluate::EvaluationPlan;

    fn assignment(id: u64) -> Assignment {
        let weights = encode(WeightsVersion(1), &Words::round(NumberFormat::F32, &[0.5], 0), None);
        Assignment { id, plan: EvaluationPlan::new(1, 1), weights }
    }

    fn id(taken: Option<Arc<Assignment>>) -> Option<u64> {
        taken.map(|assignment| assignment.id)
    }

    #[test]
    fn each_evaluation_is_one_actors_until_its_time_is_up_and_then_anothers_too() {
        let (mut jobs, now) = (Jobs::default(), Instant::now());
        let [a, b, c] = [(); 3].map(|()| jobs.sit_down());
        let [first, second] = [(); 2].map(|()| jobs.leave(assignment));
        assert_eq!(id(jobs.take(a, "a", now)), Some(first));
        assert_eq!(id(jobs.take(b, "b", now)), Some(second));
        assert_eq!(id(jobs.take(c, "c", now + PATIENCE / 2)), None);
        assert_eq!(id(jobs.take(a, "a", now + PATIENCE)), Some(second), "not the one that it has");
        assert_eq!(id(jobs.take(c, "c", now + PATIENCE)), Some(first));
        // Two have each of them now.
        let later = now + PATIENCE * 2;
        assert!(!jobs.is_open(first, later) && jobs.is_open(first, later + PATIENCE));
        jobs.succeed(first, Evaluation::default());
        assert_eq!(jobs.take_result(first), Some(Ok(Evaluation::default())));
        // The slower one's is nobody's business.
        jobs.succeed(first, Evaluation::default());
        assert_eq!((jobs.take_result(first), jobs.take_result(second)), (None, None));
    }

    #[test]
    fn what_a_lost_actor_had_is_open_again() {
        let (mut jobs, now) = (Jobs::default(), Instant::now());
        let [a, b] = [(); 2].map(|()| jobs.sit_down());
        let wanted = jobs.leave(assignment);
        assert_eq!(id(jobs.take(a, "a", now)), Some(wanted));
        assert_eq!(id(jobs.take(b, "b", now)), None);
        jobs.stand_up(a);
        assert_eq!(id(jobs.take(b, "b", now)), Some(wanted));
        jobs.stand_up(b);
        assert!(jobs.is_deserted() && jobs.is_open(wanted, now));
    }

    #[test]
    fn an_evaluation_that_fails_goes_to_others_first_and_is_given_up_after_some() {
        let (mut jobs, now) = (Jobs::default(), Instant::now());
        let [a, b] = [(); 2].map(|()| jobs.sit_down());
        let wanted = jobs.leave(assignment);
        assert_eq!(id(jobs.take(a, "a", now)), Some(wanted));
        jobs.fail((a, "a"), wanted, "no room", now);
        assert_eq!(id(jobs.take(a, "a", now + RETRY / 2)), None);
        assert_eq!(id(jobs.take(b, "b", now + RETRY / 2)), Some(wanted));
        jobs.fail((b, "b"), wanted, "no room", now + RETRY / 2);
        assert_eq!(jobs.take_result(wanted), None);
        assert_eq!(id(jobs.take(a, "a", now + RETRY)), Some(wanted));
        jobs.fail((a, "a"), wanted, "no room left", now + RETRY);
        let told = "it failed 3 times, by 2 actors, at last `a`: no room left";
        assert_eq!(jobs.take_result(wanted), Some(Err(told.into())));
    }

    #[test]
    fn nothing_is_given_up_while_somebody_is_still_at_it() {
        let (mut jobs, now) = (Jobs::default(), Instant::now());
        let [slow, bad] = [(); 2].map(|()| jobs.sit_down());
        let wanted = jobs.leave(assignment);
        jobs.take(slow, "slow", now).unwrap();
        for i in 0..3 {
            let now = now + PATIENCE * (i + 1);
            jobs.take(bad, "bad", now).unwrap();
            jobs.fail((bad, "bad"), wanted, "broken", now);
        }
        assert_eq!(jobs.take_result(wanted), None);
        jobs.succeed(wanted, Evaluation::default());
        assert_eq!(jobs.take_result(wanted), Some(Ok(Evaluation::default())));
    }
}
