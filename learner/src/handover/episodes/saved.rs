//! What a checkpoint of a deterministic run keeps of its episodes: with it a resumed run counts what one without a break does.
//! In any other run the actors after a break are new, so what ran and what waited for it is forgotten.

use super::actor::{RecordedActor, Running};
use super::order::{EpisodeOrder, Place, State};
use super::{EpisodeRecorder, Source};
use crate::handover::ledger::PRODUCED_MAX;
use impala_common::ids::{ActorIndex, Sequence};
use impala_common::trajectory::{Episode, MAGNITUDE_MAX};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Longest episode, steps: every whole number up to it is a number of JSON.
const LENGTH_MAX: u64 = 1 << 53;

/// The episodes between two batches of a deterministic run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedEpisodes {
    /// From the first that runs on, in the order of their beginning: actor, and `(bits of the return, length)` of one that
    /// has ended.
    order: Vec<(u32, Option<(u32, u32)>)>,
    /// By actor index.
    actors: BTreeMap<u32, SavedActor>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SavedActor {
    /// Sequence of the next trajectory.
    next: u64,
    environments: Vec<SavedEnvironment>,
}

/// The episode that an environment is in the middle of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SavedEnvironment {
    /// Its position in the order, if it may count.
    position: Option<usize>,
    /// The return until now as the bits of a double: no reader of JSON rounds them.
    return_bits: u64,
    length: u64,
}

impl SavedEpisodes {
    /// Checks that a deterministic run of so many actors can have come to this: it may come from a file that somebody made.
    ///
    /// # Errors
    /// Says what does not fit.
    pub fn validate(&self, actors: u32, environments: usize) -> Result<(), String> {
        let running = self.actors.len().saturating_mul(environments);
        let len_max = EpisodeOrder::saved_len_max(running);
        if self.order.len() > len_max {
            return Err(format!("{} episodes in their order, at most {len_max}", self.order.len()));
        }
        let is_return = |bits: u32| f32::from_bits(bits).abs() <= MAGNITUDE_MAX;
        let bad = self.order.iter().filter_map(|(_, ended)| *ended).find(|(bits, _)| !is_return(*bits));
        if let Some((bits, _)) = bad {
            return Err(format!(
                "an episode's return of {:e}, at most {MAGNITUDE_MAX:e} in magnitude",
                f32::from_bits(bits)
            ));
        }
        let mut claimed = vec![false; self.order.len()];
        for (index, actor) in &self.actors {
            if *index >= actors {
                return Err(format!("episodes of actor {index}, of {actors} actors"));
            }
            actor.validate(*index, environments)?;
            for position in actor.environments.iter().filter_map(|environment| environment.position) {
                let is_free = self.order.get(position) == Some(&(*index, None));
                if !is_free || std::mem::replace(&mut claimed[position], true) {
                    return Err(format!("an episode of actor {index} at position {position}, where none of it runs"));
                }
            }
        }
        let nobodys =
            (0..).zip(self.order.iter().zip(claimed)).find(|(_, ((_, ended), claimed))| ended.is_none() && !claimed);
        nobodys.map_or(Ok(()), |(position, _): (usize, _)| {
            Err(format!("an episode at position {position} that no environment is in the middle of"))
        })
    }
}

impl SavedActor {
    fn validate(&self, index: u32, environments: usize) -> Result<(), String> {
        if self.environments.len() != environments {
            return Err(format!("actor {index} with {} environments of {environments}", self.environments.len()));
        }
        if self.next > PRODUCED_MAX {
            return Err(format!("actor {index} with {} trajectories, at most {PRODUCED_MAX}", self.next));
        }
        for SavedEnvironment { return_bits, length, .. } in &self.environments {
            let (sum, max) = (f64::from_bits(*return_bits), f64::from(MAGNITUDE_MAX) * *length as f64);
            // No comparison holds of a number that is none.
            if *length > LENGTH_MAX || !(-max..=max).contains(&sum) {
                return Err(format!("actor {index} with a return of {sum:e} after {length} steps of an episode"));
            }
        }
        Ok(())
    }
}

impl EpisodeRecorder {
    /// What a checkpoint keeps, where sources are places.
    pub fn save(&self) -> SavedEpisodes {
        let index = |source: Source| u32::try_from(source.0).unwrap_or(u32::MAX);
        // Censored ones are left out: nothing comes of them any more.
        let kept: Vec<_> = self.order.places().filter(|(_, place)| place.state != State::Censored).collect();
        let position = |number| kept.binary_search_by_key(&number, |(number, _)| *number).ok();
        let saved = |actor: &RecordedActor| SavedActor {
            next: actor.next().0,
            environments: Vec::from_iter(actor.running().map(|(number, episode_return, length)| SavedEnvironment {
                position: number.filter(|number| self.order.runs(*number)).and_then(position),
                return_bits: episode_return.to_bits(),
                length,
            })),
        };
        let ended = |state| match state {
            State::Ended(Episode { episode_return, length }) => Some((episode_return.to_bits(), length)),
            State::Runs | State::Censored => None,
        };
        SavedEpisodes {
            order: kept.iter().map(|(_, place)| (index(place.source), ended(place.state))).collect(),
            actors: self.actors.iter().map(|(source, actor)| (index(*source), saved(actor))).collect(),
        }
    }

    /// Goes on from what [`EpisodeRecorder::save`] gave, checked by [`SavedEpisodes::validate`].
    pub fn resume(saved: &SavedEpisodes) -> Self {
        let source = |index: u32| Source::place(ActorIndex(index));
        let place = |(index, ended): &(u32, Option<(u32, u32)>)| Place {
            source: source(*index),
            state: ended.map_or(State::Runs, |(bits, length)| {
                State::Ended(Episode { episode_return: f32::from_bits(bits), length })
            }),
        };
        let actor = |actor: &SavedActor| {
            let steps = actor.environments.iter().map(|environment| environment.length).max().unwrap_or(0);
            let running = |saved: &SavedEnvironment| Running {
                began: steps - saved.length,
                number: saved.position.map(|position| position as u64),
            };
            let returns = actor.environments.iter().map(|saved| f64::from_bits(saved.return_bits)).collect();
            let episodes = actor.environments.iter().map(running).collect();
            RecordedActor::resumed(Sequence(actor.next), steps, returns, episodes)
        };
        Self {
            environments: saved.actors.values().map(|actor| actor.environments.len()).sum(),
            actors: saved.actors.iter().map(|(index, saved)| (source(*index), actor(saved))).collect(),
            order: EpisodeOrder::of(saved.order.iter().map(place).collect()),
            ..Self::default()
        }
    }
}
