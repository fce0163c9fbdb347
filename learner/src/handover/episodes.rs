//! The episodes of a run, made of the rewards and outcomes that arrived: which of them are a fair sample of the training
//! return. A plain state machine without thread, clock or channel; the batcher owns it and shows it every trajectory.
//!
//! The first episodes to *end* are the short ones, and of hundreds of environments that began together the long ones all end
//! together: a mean over the last that ended is of the short, then of the long. So episodes are numbered in the order in which
//! they *begin*, and one counts when it and all before it have ended. Whatever number of environments there is, and while
//! actors come and go, the newest 100 that count are 100 neighbours in this order, long and short as the policy makes them.
//!
//! What is not seen whole is censored: it neither counts nor holds up those that began after it. Where that befalls what an
//! actor runs (it left, or a trajectory of it was lost), it takes along every other episode of the actor that began since
//! the oldest of these did: those among them that have ended are the short ones. The same befalls an actor that is much
//! slower than the others, see [`RecordedActor::is_slow`]: by its speed and whatever its episodes are like, so that the rest
//! stay a fair sample. None that it begins counts until its pace is back. And it befalls an episode of more than 10,000 steps that
//! takes 64 times as long as those that it holds up: an environment that says of none that it ends would hold them up for good.

mod actor;
mod order;
mod saved;

use actor::RecordedActor;
use impala_common::ids::{ActorIndex, Incarnation};
use impala_common::trajectory::{Episode, Trajectory};
use order::{EpisodeOrder, Number};
pub use saved::SavedEpisodes;
use std::collections::{HashMap, VecDeque};

/// Most episodes that count and wait for a batch: without batches, while all that comes is too old, the oldest go.
const COUNTED_MAX: usize = 1 << 16;

/// An episode of more steps than these may be one without end.
const ENDLESS_FROM: u64 = 10_000;
/// It is taken for one that takes so many times the steps of those that it holds up.
const ENDLESS_TIMES: f64 = 64.0;

/// Whose trajectories follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source(u64);

impl Source {
    /// A process: another one begins episodes of its own.
    pub fn process(incarnation: Incarnation) -> Self {
        Self(incarnation.0)
    }

    /// A place in a deterministic run: whoever takes it goes on with its episodes.
    pub fn place(actor: ActorIndex) -> Self {
        Self(actor.0.into())
    }
}

/// Sums episodes up and gives those that count, each once.
#[derive(Debug, Default)]
pub struct EpisodeRecorder {
    actors: HashMap<Source, RecordedActor>,
    /// Environments of all of them.
    environments: usize,
    /// Steps that an average environment has made; it adds to this for as long as it is here.
    pace: f64,
    order: EpisodeOrder,
    counted: VecDeque<Episode>,
}

impl EpisodeRecorder {
    /// Notes a trajectory; those of one source come in the order in which it sent them.
    pub fn record(&mut self, source: Source, trajectory: &Trajectory) {
        let Self { actors, environments, pace, order, .. } = self;
        let actor = actors.entry(source).or_insert_with(|| {
            let n = trajectory.shape().environments;
            *environments += n;
            let mut actor = RecordedActor::new(n, trajectory.sequence, *pace);
            if trajectory.sequence.0 == 0 {
                actor.begin_all(source, order);
            }
            actor
        });
        if actor.next() != trajectory.sequence {
            actor.censor(source, order);
        }
        actor.record(source, trajectory, order);
        *pace += trajectory.shape().frames() as f64 / (*environments).max(1) as f64;
        self.look_at_pace(source, trajectory.shape().unroll_length);
        self.advance(trajectory.shape().unroll_length);
    }

    /// The last trajectory of a source has been recorded.
    pub fn leave(&mut self, source: Source) {
        if let Some(actor) = self.actors.remove(&source) {
            self.environments -= actor.environments();
            actor.censor(source, &mut self.order);
            self.order.count_into(&mut self.counted);
        }
    }

    /// Takes out the episodes that count since the last time, in the order in which they began.
    pub fn take(&mut self) -> Vec<Episode> {
        std::mem::take(&mut self.counted).into()
    }

    /// Lets all count before the first that still runs, which is not to be one of a slow actor.
    fn advance(&mut self, unroll_length: usize) {
        loop {
            self.order.count_into(&mut self.counted);
            let Some((number, source)) = self.order.head() else { break };
            if !self.look_at_pace(source, unroll_length) && !self.look_at_length(number, source) {
                break;
            }
        }
        let too_many = self.counted.len().saturating_sub(COUNTED_MAX);
        self.counted.drain(..too_many);
    }

    /// Whether an episode goes on for so much longer than others that it is taken for one without end.
    fn look_at_length(&mut self, number: Number, source: Source) -> bool {
        let Some(actor) = self.actors.get(&source) else { return false };
        let (length, mean) = (actor.length_of(number), self.order.mean_length());
        let is_endless = length
            .zip(mean)
            .is_some_and(|(length, mean)| length > ENDLESS_FROM && length as f64 > ENDLESS_TIMES * mean);
        if is_endless {
            actor.censor(source, &mut self.order);
        }
        is_endless
    }

    /// Whether an actor that was not slow has become so.
    fn look_at_pace(&mut self, source: Source, unroll_length: usize) -> bool {
        let Some(actor) = self.actors.get_mut(&source) else { return false };
        let becomes_slow = actor.look_at_pace(self.pace, unroll_length);
        if becomes_slow {
            actor.censor(source, &mut self.order);
        }
        becomes_slow
    }
}

#[cfg(test)]
mod sampling;
#[cfg(test)]
mod tests;
