//! The show's thread: plays the newest policy for whoever has the run's page open, one episode after the other at the pace of the
//! environment. It has the least priority, as the side evaluator's, and does nothing while nobody looks.

use crate::handover::policy_request::PolicyRequest;
use crate::handover::progress::VersionedPolicy;
use impala_common::process::threads;
use impala_env::{EnvironmentKind, seed};
use impala_policy::evaluate::Mode;
use impala_policy::network::NetworkSpec;
use impala_render::record::{self, Action, RecordError, RecordPlan, Recording};
use impala_web::Feed;
use impala_web::snapshot::Frame;
use std::collections::VecDeque;
use std::time::Duration;

/// Time between two looks whether somebody looks.
const IDLE: Duration = Duration::from_millis(250);
/// How long the end of an episode stands still.
const HOLD: Duration = Duration::from_millis(800);
/// Frames a second: what makes a movement smooth, and half of what CartPole's own pace would send.
const FRAMES_PER_SECOND: u32 = 25;
/// Longest episode that is shown, steps: a minute of CartPole. A policy that is shown for longer is not the newest any more.
const STEPS_MAX: u32 = 3000;
/// Episodes whose returns are told.
const RETURNS_MAX: usize = 20;

/// What plays.
#[derive(Debug)]
pub struct Show {
    /// Where policies come from.
    pub policies: PolicyRequest,
    /// Who looks.
    pub feed: Feed,
    /// What they play.
    pub environment: EnvironmentKind,
    /// What they are.
    pub network: NetworkSpec,
    /// The seed of the run.
    pub seed: u64,
}

impl Show {
    /// Plays until it is stopped.
    pub fn run(self) {
        threads::give_way();
        let mut returns = VecDeque::new();
        for number in 1.. {
            while !self.feed.is_watched() {
                if !self.policies.rest(IDLE) {
                    return;
                }
            }
            let Some(policy) = self.policies.ask() else { return };
            let recording = match self.record(&policy, number) {
                Ok(recording) => recording,
                // The page has been told that there is nothing to see.
                Err(RecordError::NoScene(_)) => return,
                Err(RecordError::Fault(reason)) => {
                    tracing::warn!(reason, "no more episodes are shown in the live view: the environment failed");
                    return;
                }
                Err(error) => unreachable!("the network was made for the environment: {error}"),
            };
            if !self.play(&recording, &policy, &mut returns) {
                return;
            }
        }
    }

    fn record(&self, policy: &VersionedPolicy, number: u64) -> Result<Recording, RecordError> {
        let plan = RecordPlan { seed: seed::later(self.seed, number), mode: Mode::Greedy, steps_max: STEPS_MAX };
        record::record(&self.environment, &self.network, &policy.parameters, plan, &mut |_| {})
    }

    /// Shows one episode, as long as somebody looks; tells whether there was no stop.
    fn play(&self, recording: &Recording, policy: &VersionedPolicy, returns: &mut VecDeque<f32>) -> bool {
        let stride = recording.steps_per_second.div_ceil(FRAMES_PER_SECOND).max(1) as usize;
        let pace = Duration::from_secs_f64(stride as f64 / f64::from(recording.steps_per_second));
        let last = recording.moments.len() - 1;
        let seen = (0..last).step_by(stride).chain([last]);
        for place in seen {
            if place == last {
                returns.push_back(recording.moments[last].return_so_far);
                if returns.len() > RETURNS_MAX {
                    returns.pop_front();
                }
            }
            self.feed.show(&frame(recording, place, policy, returns.make_contiguous()));
            if !self.policies.rest(if place == last { HOLD } else { pace }) {
                return false;
            }
            if !self.feed.is_watched() {
                break;
            }
        }
        true
    }
}

fn frame<'a>(recording: &'a Recording, place: usize, policy: &VersionedPolicy, returns: &'a [f32]) -> Frame<'a> {
    let moment = &recording.moments[place];
    let view = moment.view.as_ref();
    Frame {
        scene: &moment.scene,
        update: policy.version.0,
        step: moment.steps.into(),
        action: view.map(|view| match &view.action {
            Action::Choice(action) => recording.actions[usize::from(*action)].clone(),
            Action::Components(told) => told.join(", "),
        }),
        value: view.map(|view| view.value),
        return_so_far: moment.return_so_far,
        returns,
    }
}
