//! Systems that move by equations: N of one kind, whose few numbers lie side by side so that one loop moves several of them at once.
//!
//! A [`Motion`] is the equations alone; [`Moving`] makes environments of them: limits of steps, ends and beginnings of episodes,
//! states as bytes.

use crate::array::{ArrayMut, ArrayRef};
use crate::environment::{Outcome, StateError, Step, VectorEnvironment};
use crate::scene::Scene;
use crate::seed::Rng;
use crate::state;
use pulp::{Arch, Simd, WithSimd};
use serde::{Deserialize, Serialize};
use std::marker::PhantomData;

/// Systems that are moved at once: as many as the widest vectors have numbers in double precision.
const LANES: usize = 8;

/// The equations of a system of K numbers of which O are seen. The functions of a step are branchless arithmetic and always inlined, or
/// the loop over the systems does not vectorise.
pub(crate) trait Motion<const K: usize, const O: usize>: Send + 'static {
    /// Tells its states from those of other environments.
    const KIND: &'static str;
    /// The step that cuts an episode.
    const STEPS_MAX: u32;

    /// Where an episode begins.
    fn start(rng: &mut Rng) -> [f64; K];

    /// What an action does: a choice's index, or a box's number.
    fn force(action: f64) -> f64;

    /// One step of time.
    fn advance(numbers: [f64; K], force: f64) -> Moved<K>;

    /// What is seen of it.
    fn observe(numbers: [f64; K]) -> [f32; O];

    /// Whether an episode that goes on can be there.
    fn is_possible(numbers: [f64; K]) -> bool;

    /// How it looks, and the force of the step that led there; 0 at the start of an episode.
    fn draw(numbers: [f64; K], force: f64) -> Scene;
}

/// What a step led to.
pub(crate) struct Moved<const K: usize> {
    pub(crate) numbers: [f64; K],
    pub(crate) reward: f32,
    pub(crate) is_over: bool,
}

/// N systems.
pub(crate) struct Moving<M, const K: usize, const O: usize> {
    motion: PhantomData<M>,
    arch: Arch,
    blocks: Vec<Block<K>>,
    /// `[N]`: steps of the episode so far.
    steps: Vec<u32>,
    rngs: Vec<Rng>,
    /// `[N]`: numbers and force at the end of each one's last episode, for pictures alone.
    ends: Vec<Option<([f64; K], f64)>>,
}

/// Some neighbours. The last block may have more than there are systems: the rest is moved with the others and never seen.
#[derive(Clone)]
struct Block<const K: usize> {
    numbers: [[f64; LANES]; K],
    /// Of the newest step.
    forces: [f64; LANES],
}

/// What the next steps depend on.
#[derive(Serialize, Deserialize)]
struct State {
    /// `[N, K]`
    numbers: Vec<f64>,
    steps: Vec<u32>,
    rngs: Vec<Rng>,
}

impl<M: Motion<K, O>, const K: usize, const O: usize> Moving<M, K, O> {
    /// One system for each random source.
    pub(crate) fn new(rngs: Vec<Rng>) -> Self {
        let n = rngs.len();
        let blocks = vec![Block { numbers: [[0.0; LANES]; K], forces: [0.0; LANES] }; n.div_ceil(LANES)];
        let (steps, ends) = (vec![0; n], vec![None; n]);
        let mut systems = Self { motion: PhantomData, arch: Arch::new(), blocks, steps, rngs, ends };
        (0..n).for_each(|i| systems.reset(i));
        systems
    }

    fn reset(&mut self, i: usize) {
        let start = M::start(&mut self.rngs[i]);
        self.set(i, start, 0);
    }

    fn set(&mut self, i: usize, numbers: [f64; K], steps: u32) {
        let block = &mut self.blocks[i / LANES];
        for (lanes, number) in block.numbers.iter_mut().zip(numbers) {
            lanes[i % LANES] = number;
        }
        block.forces[i % LANES] = 0.0;
        self.steps[i] = steps;
    }

    fn numbers(&self, i: usize) -> [f64; K] {
        self.blocks[i / LANES].numbers.map(|lanes| lanes[i % LANES])
    }

    fn force(&self, i: usize) -> f64 {
        self.blocks[i / LANES].forces[i % LANES]
    }

    /// Moves all of them; tells whether any episode ended.
    fn advance<A: Copy + Into<f64>>(&mut self, actions: &[A], step: &mut Step<'_>) -> bool {
        self.arch.dispatch(Advance {
            motion: self.motion,
            blocks: &mut self.blocks,
            steps: &mut self.steps,
            actions,
            observations: step.observations.reborrow().f32().as_chunks_mut::<O>().0,
            rewards: step.rewards,
            outcomes: step.outcomes,
        })
    }

    /// Ends the episodes that are over: keeps the final observation of the truncated ones, starts the next.
    #[cold]
    fn reset_ended(&mut self, step: &mut Step<'_>) {
        let rows = step.observations.reborrow().f32().as_chunks_mut::<O>().0;
        for (i, (row, outcome)) in rows.iter_mut().zip(step.outcomes.iter()).enumerate() {
            if *outcome == Outcome::Continues {
                continue;
            }
            if *outcome == Outcome::Truncated {
                step.final_observations.extend(ArrayRef::F32(row));
            }
            self.ends[i] = Some((self.numbers(i), self.force(i)));
            self.reset(i);
            *row = M::observe(self.numbers(i));
        }
    }
}

impl<M: Motion<K, O>, const K: usize, const O: usize> VectorEnvironment for Moving<M, K, O> {
    fn environments(&self) -> usize {
        self.rngs.len()
    }

    fn observe(&self, observations: ArrayMut<'_>, _: &mut [u8]) {
        for (i, row) in observations.f32().as_chunks_mut::<O>().0.iter_mut().enumerate() {
            *row = M::observe(self.numbers(i));
        }
    }

    fn step(&mut self, actions: ArrayRef<'_>, mut step: Step<'_>) {
        let any_ended = match actions {
            ArrayRef::U8(choices) => self.advance(choices, &mut step),
            ArrayRef::F32(numbers) => self.advance(numbers, &mut step),
        };
        if any_ended {
            self.reset_ended(&mut step);
        }
    }

    fn state(&self) -> Vec<u8> {
        let numbers = (0..self.rngs.len()).flat_map(|i| self.numbers(i)).collect();
        state::encode(M::KIND, &State { numbers, steps: self.steps.clone(), rngs: self.rngs.clone() })
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), StateError> {
        let n = self.rngs.len();
        let State { numbers, steps, rngs } = state::decode(M::KIND, n, state)?;
        let (systems, rest) = numbers.as_chunks::<K>();
        let is_possible = (systems.len(), rest.len(), steps.len(), rngs.len()) == (n, 0, n, n)
            && systems.iter().all(|numbers| M::is_possible(*numbers))
            && steps.iter().all(|steps| *steps < M::STEPS_MAX);
        if !is_possible {
            return Err(StateError::new(M::KIND, n));
        }
        for (i, (numbers, steps)) in systems.iter().zip(steps).enumerate() {
            self.set(i, *numbers, steps);
        }
        self.rngs = rngs;
        self.ends.fill(None);
        Ok(())
    }

    fn scene(&mut self, index: usize) -> Option<Scene> {
        Some(M::draw(self.numbers(index), self.force(index)))
    }

    fn final_scene(&mut self, index: usize) -> Option<Scene> {
        self.ends[index].map(|(numbers, force)| M::draw(numbers, force))
    }
}

/// One step of all systems without resets; tells whether any episode ended.
struct Advance<'a, M, A, const K: usize, const O: usize> {
    motion: PhantomData<M>,
    blocks: &'a mut [Block<K>],
    steps: &'a mut [u32],
    actions: &'a [A],
    observations: &'a mut [[f32; O]],
    rewards: &'a mut [f32],
    outcomes: &'a mut [Outcome],
}

impl<M: Motion<K, O>, A: Copy + Into<f64>, const K: usize, const O: usize> WithSimd for Advance<'_, M, A, K, O> {
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> bool {
        let Self { blocks, steps, actions, observations, rewards, outcomes, .. } = self;
        let mut ended = 0;
        for (b, block) in blocks.iter_mut().enumerate() {
            let present = b * LANES..((b + 1) * LANES).min(steps.len());
            for (force, action) in block.forces.iter_mut().zip(&actions[present.clone()]) {
                *force = M::force((*action).into());
            }
            let (seen, paid, over) = block.advance::<M, O>();
            for (lane, i) in present.enumerate() {
                observations[i] = seen.map(|lanes| lanes[lane]);
                rewards[i] = paid[lane];
                steps[i] += 1;
                let cut = if steps[i] >= M::STEPS_MAX { Outcome::Truncated } else { Outcome::Continues };
                outcomes[i] = if over[lane] { Outcome::Terminated } else { cut };
                ended |= outcomes[i] as u8;
            }
        }
        ended != 0
    }
}

impl<const K: usize> Block<K> {
    /// The loop that vectorises. Gives what is seen, the rewards, and which episodes the systems themselves ended.
    #[inline(always)]
    fn advance<M: Motion<K, O>, const O: usize>(&mut self) -> ([[f32; LANES]; O], [f32; LANES], [bool; LANES]) {
        let (mut seen, mut paid, mut over) = ([[0.0; LANES]; O], [0.0; LANES], [false; LANES]);
        for lane in 0..LANES {
            let moved = M::advance(std::array::from_fn(|k| self.numbers[k][lane]), self.forces[lane]);
            (paid[lane], over[lane]) = (moved.reward, moved.is_over);
            for (lanes, number) in self.numbers.iter_mut().zip(moved.numbers) {
                lanes[lane] = number;
            }
            for (lanes, number) in seen.iter_mut().zip(M::observe(moved.numbers)) {
                lanes[lane] = number;
            }
        }
        (seen, paid, over)
    }
}

#[cfg(test)]
pub(crate) mod tests;
