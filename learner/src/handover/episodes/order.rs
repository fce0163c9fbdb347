//! Episodes in the order in which they begin, from the first that still runs on. Knows nothing of actors but whose an episode
//! is.

use super::Source;
use impala_common::trajectory::Episode;
use std::collections::VecDeque;

/// Most episodes over that are kept, besides [`OVER_MAX_EACH`] for each that runs.
const OVER_MAX: usize = 1 << 12;
/// What earlier releases kept, in checkpoints.
const SAVED_OVER_MAX: usize = 1 << 16;
/// See [`OVER_MAX`]: 256 for each that runs.
const OVER_MAX_EACH: usize = 1 << 8;

/// Episodes from which their mean length tells something.
const TELLING: usize = 100;

/// Number of an episode in the order in which they begin.
pub(super) type Number = u64;

/// How an episode stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum State {
    Runs,
    Ended(Episode),
    /// It will not count.
    Censored,
}

/// One episode, 24 bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) source: Source,
    pub(super) state: State,
}

/// The episodes that neither count nor are forgotten yet. Where one without end holds up the others, it is censored as soon as
/// there are more than 4,096 over, and 256 for each that runs, which are as many as there are environments: then it takes hundreds of
/// times as long as the others do.
#[derive(Clone, Debug, Default)]
pub(super) struct EpisodeOrder {
    /// Number of the first place.
    first: Number,
    places: VecDeque<Place>,
    /// Places whose episode does not run any more.
    over: usize,
    /// Those that have ended and wait, and their steps.
    ended: (usize, u64),
}

impl EpisodeOrder {
    /// The order that consists of these places.
    pub(super) fn of(places: VecDeque<Place>) -> Self {
        let over = places.iter().filter(|place| place.state != State::Runs).count();
        let mut order = Self { first: 0, places: VecDeque::new(), over, ended: (0, 0) };
        for Place { state, .. } in &places {
            if let State::Ended(episode) = state {
                order.wait(episode.length);
            }
        }
        Self { places, ..order }
    }

    /// Steps of an average episode that has ended and waits; nothing where they are too few to tell.
    pub(super) fn mean_length(&self) -> Option<f64> {
        let (count, steps) = self.ended;
        (count >= TELLING).then(|| steps as f64 / count as f64)
    }

    fn wait(&mut self, length: u32) {
        self.ended = (self.ended.0 + 1, self.ended.1 + u64::from(length));
    }

    /// One that had ended does not wait any more.
    fn forget(&mut self, length: u32) {
        self.ended = (self.ended.0 - 1, self.ended.1 - u64::from(length));
    }

    /// The places with their numbers.
    pub(super) fn places(&self) -> impl Iterator<Item = (Number, Place)> {
        (self.first..).zip(self.places.iter().copied())
    }

    /// Most places where so many episodes run.
    pub(super) fn len_max(running: usize) -> usize {
        OVER_MAX + running + running * OVER_MAX_EACH
    }

    /// Most of them in a checkpoint.
    pub(super) fn saved_len_max(running: usize) -> usize {
        Self::len_max(running) + SAVED_OVER_MAX
    }

    /// An episode begins after all others.
    pub(super) fn begin(&mut self, source: Source) -> Number {
        self.places.push_back(Place { source, state: State::Runs });
        self.first + (self.places.len() - 1) as u64
    }

    /// Whether the episode runs and may still count.
    pub(super) fn runs(&self, number: Number) -> bool {
        let place =
            number.checked_sub(self.first).and_then(|position| self.places.get(usize::try_from(position).ok()?));
        place.is_some_and(|place| place.state == State::Runs)
    }

    /// An episode ends; nothing if it is censored.
    pub(super) fn end(&mut self, number: Number, episode: Episode) {
        if self.runs(number) {
            self.places[(number - self.first) as usize].state = State::Ended(episode);
            self.over += 1;
            self.wait(episode.length);
        }
    }

    /// Censors every episode of a source from this one on.
    pub(super) fn censor_from(&mut self, source: Source, oldest: Number) {
        let skipped = oldest.saturating_sub(self.first) as usize;
        for position in skipped..self.places.len() {
            let place = &mut self.places[position];
            if place.source != source {
                continue;
            }
            match std::mem::replace(&mut place.state, State::Censored) {
                State::Runs => self.over += 1,
                State::Ended(Episode { length, .. }) => self.forget(length),
                State::Censored => {}
            }
        }
    }

    /// Takes out everything before the first that runs; appends what counts.
    pub(super) fn count_into(&mut self, counted: &mut VecDeque<Episode>) {
        while let Some(Place { state, .. }) = self.places.front().copied() {
            match state {
                State::Runs if self.places.len() <= Self::len_max(self.places.len() - self.over) => return,
                // It holds up too many. When it ends, its number is not in the order any more.
                State::Runs => self.over += 1,
                State::Ended(episode) => {
                    counted.push_back(episode);
                    self.forget(episode.length);
                }
                State::Censored => {}
            }
            self.places.pop_front();
            self.first += 1;
            self.over -= 1;
        }
    }

    /// The first episode, and whose it is.
    pub(super) fn head(&self) -> Option<(Number, Source)> {
        self.places.front().map(|place| (self.first, place.source))
    }
}
