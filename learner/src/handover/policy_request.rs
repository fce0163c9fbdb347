//! The seam between the trainer and who wants its newest policy now and then, to look at it. Whoever wants one asks when there is time for
//! it, the trainer answers after its next update: nobody waits for anybody else, and at most one copy of the parameters is under way.
//!
//! As with [`Verification`](crate::handover::verification), who asks knows nothing else of the run.

use crate::handover::progress::VersionedPolicy;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// Both ends; `app` stops it.
#[derive(Clone, Debug, Default)]
pub struct PolicyRequest {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Read by the trainer after every update.
    is_asked: AtomicBool,
    is_stopped: AtomicBool,
    given: Mutex<Given>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Given {
    answer: Option<VersionedPolicy>,
    /// What a training that is over left, for whoever asks later.
    last: Option<VersionedPolicy>,
}

impl PolicyRequest {
    /// The trainer's: whether a policy is wanted.
    pub fn is_asked(&self) -> bool {
        self.shared.is_asked.load(Ordering::Relaxed)
    }

    /// The trainer's: gives its policy.
    pub fn answer(&self, policy: VersionedPolicy) {
        let mut given = self.lock();
        self.shared.is_asked.store(false, Ordering::Relaxed);
        given.answer = Some(policy);
        drop(given);
        self.shared.changed.notify_all();
    }

    /// Training is over: from now on everybody is given this policy.
    pub fn settle(&self, policy: VersionedPolicy) {
        self.lock().last = Some(policy);
        self.shared.changed.notify_all();
    }

    /// Asks for a policy and waits for it; nothing after the stop.
    pub fn ask(&self) -> Option<VersionedPolicy> {
        self.shared.is_asked.store(true, Ordering::Relaxed);
        let is_open = |given: &mut Given| given.answer.is_none() && given.last.is_none() && !self.is_stopped();
        let given = self.shared.changed.wait_while(self.lock(), is_open);
        let mut given = given.expect("no holder of what is given panics");
        given.answer.take().or_else(|| given.last.clone()).filter(|_| !self.is_stopped())
    }

    /// Waits; tells whether there was no stop meanwhile.
    pub fn rest(&self, time: Duration) -> bool {
        let is_open = |_: &mut Given| !self.is_stopped();
        let rested = self.shared.changed.wait_timeout_while(self.lock(), time, is_open);
        drop(rested.expect("no holder of what is given panics"));
        !self.is_stopped()
    }

    /// Whether nobody wants what comes of it any more.
    pub fn is_stopped(&self) -> bool {
        self.shared.is_stopped.load(Ordering::Acquire)
    }

    /// Gives up what is under way.
    pub fn stop(&self) {
        let given = self.lock();
        self.shared.is_stopped.store(true, Ordering::Release);
        self.shared.is_asked.store(false, Ordering::Relaxed);
        drop(given);
        self.shared.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Given> {
        self.shared.given.lock().expect("no holder of what is given panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use impala_common::ids::WeightsVersion;

    #[test]
    fn a_policy_is_given_only_to_who_asks() {
        let request = PolicyRequest::default();
        assert!(!request.is_asked());
        let other = request.clone();
        let asking = std::thread::Builder::new().name("asking".into()).spawn(move || other.ask()).unwrap();
        while !request.is_asked() {
            std::thread::yield_now();
        }
        let policy = VersionedPolicy { version: WeightsVersion(3), frames: 240, parameters: [0.5].into() };
        request.answer(policy.clone());
        assert_eq!((asking.join().unwrap(), request.is_asked()), (Some(policy.clone()), false));
        // After the training there is one for everybody.
        request.settle(policy.clone());
        assert_eq!([request.ask(), request.ask()], [Some(policy.clone()), Some(policy)]);
    }

    #[test]
    fn a_stop_ends_a_rest_and_a_question() {
        for time in [Duration::ZERO, Duration::from_secs(3600)] {
            let request = PolicyRequest::default();
            let other = request.clone();
            let thread = std::thread::Builder::new().name("stopped".into());
            let thread = thread.spawn(move || (other.rest(time), other.ask())).unwrap();
            request.stop();
            assert_eq!(thread.join().unwrap().1, None);
        }
    }
}
