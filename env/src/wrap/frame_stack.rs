//! Observations of several steps at once, so that a policy without a memory sees what moves.

use crate::array::{Array, ArrayMut, ArrayRef, Dtype};
use crate::environment::{Outcome, StateError, Step, VectorEnvironment};
use crate::registry::{EnvironmentKind, KindError};
use crate::scene::Scene;
use crate::space::ObservationSpace;
use crate::state;

/// Tells its states from those of environments.
const KIND: &str = "frame stack";

impl EnvironmentKind {
    /// The same under another name, which shows the newest observations at once, so many; at the start of an episode the first one stands for
    /// those before it.
    ///
    /// # Shapes
    /// `[.., C]` of three or more dimensions becomes `[.., frames * C]`, `[H, W]` becomes `[H, W, frames]`, and `[O]` becomes
    /// `[frames * O]`: the frames are channels of a picture and neighbours in a vector, the oldest first.
    ///
    /// # Errors
    /// The name is none, there are fewer than 2 frames, or the observations become too large.
    pub fn with_stacked_frames(&self, name: &str, frames: usize) -> Result<Self, KindError> {
        if frames < 2 {
            let (name, value) = (name.parse()?, frames.to_string());
            return Err(KindError::Bounds { name, field: "stacked frames", value, bounds: "2 or more" });
        }
        let single = self.spec().observations.clone();
        let stacked = ObservationSpace { shape: stacked_shape(&single.shape, frames), dtype: single.dtype };
        let kind = self.clone();
        let make = move |rngs| -> Box<dyn VectorEnvironment> {
            Box::new(FrameStack::new(kind.make(rngs), &single, frames, kind.spec().mask_len()))
        };
        self.derived(name, stacked, make)
    }
}

fn stacked_shape(shape: &[usize], frames: usize) -> Vec<usize> {
    match shape {
        [] | [_] => vec![shape.iter().product::<usize>().saturating_mul(frames)],
        [_, _] => [shape, &[frames]].concat(),
        [outer @ .., channels] => [outer, &[channels.saturating_mul(frames)]].concat(),
    }
}

/// N environments of any kind.
struct FrameStack {
    inner: Box<dyn VectorEnvironment>,
    frames: usize,
    /// Numbers of one frame.
    frame_len: usize,
    /// Numbers of one frame that stay neighbours among the stacked ones.
    chunk_len: usize,
    /// `[N, frames, frame_len]`, of each environment the oldest frame first.
    history: Array,
    /// `[N, frame_len]`: what the inner environments wrote.
    newest: Array,
    /// `[K, frame_len]`, of the newest step.
    final_observations: Array,
}

impl FrameStack {
    fn new(inner: Box<dyn VectorEnvironment>, single: &ObservationSpace, frames: usize, mask_len: usize) -> Self {
        let (n, frame_len) = (inner.environments(), single.len());
        let chunk_len = match single.shape.as_slice() {
            [] | [_] => frame_len,
            [_, _] => 1,
            [.., channels] => *channels,
        };
        let zeros = |len| Array::zeros(single.dtype, len);
        let (history, newest, final_observations) = (zeros(n * frames * frame_len), zeros(n * frame_len), zeros(0));
        let mut stack = Self { inner, frames, frame_len, chunk_len, history, newest, final_observations };
        stack.inner.observe(stack.newest.view_mut(), &mut vec![0; n * mask_len]);
        (0..n).for_each(|i| stack.begin(i));
        stack
    }

    /// Fills an environment's history with its newest frame.
    fn begin(&mut self, i: usize) {
        (0..self.frames).for_each(|_| self.push(i));
    }

    /// Forgets an environment's oldest frame for its newest.
    fn push(&mut self, i: usize) {
        let newest = self.newest.view().range(i * self.frame_len..(i + 1) * self.frame_len);
        let rows = self.rows(i);
        push(self.history.view_mut().range(rows), newest);
    }

    /// Where an environment's history is.
    fn rows(&self, i: usize) -> std::ops::Range<usize> {
        let len = self.frames * self.frame_len;
        i * len..(i + 1) * len
    }

    fn write(&self, i: usize, stacked: ArrayMut<'_>) {
        let history = self.history.view().range(self.rows(i));
        match (stacked, history) {
            (ArrayMut::F32(stacked), ArrayRef::F32(history)) => self.interleave(history, stacked),
            (ArrayMut::U8(stacked), ArrayRef::U8(history)) => self.interleave(history, stacked),
            _ => unreachable!("stacked frames have the numbers of single ones"),
        }
    }

    /// Puts the frames' chunks beside one another.
    fn interleave<T: Copy>(&self, history: &[T], stacked: &mut [T]) {
        let (chunk, stride) = (self.chunk_len, self.chunk_len * self.frames);
        for (f, frame) in history.chunks_exact(self.frame_len).enumerate() {
            for (from, to) in frame.chunks_exact(chunk).zip(stacked.chunks_exact_mut(stride)) {
                to[f * chunk..][..chunk].copy_from_slice(from);
            }
        }
    }
}

/// Moves the frames of a history to the front by one and puts another one at the end.
fn push(history: ArrayMut<'_>, frame: ArrayRef<'_>) {
    fn shift<T: Copy>(history: &mut [T], frame: &[T]) {
        history.copy_within(frame.len().., 0);
        let kept = history.len() - frame.len();
        history[kept..].copy_from_slice(frame);
    }
    match history {
        ArrayMut::F32(history) => shift(history, frame.f32()),
        ArrayMut::U8(history) => shift(history, frame.u8()),
    }
}

impl VectorEnvironment for FrameStack {
    fn environments(&self) -> usize {
        self.inner.environments()
    }

    fn observe(&self, mut observations: ArrayMut<'_>, masks: &mut [u8]) {
        // The frames are in the history; what is asked for anew is the masks.
        let mut newest = self.newest.clone();
        self.inner.observe(newest.view_mut(), masks);
        for i in 0..self.environments() {
            self.write(i, observations.reborrow().range(self.rows(i)));
        }
    }

    fn step(&mut self, actions: ArrayRef<'_>, mut step: Step<'_>) {
        self.final_observations.clear();
        let inner_step = Step {
            observations: self.newest.view_mut(),
            masks: &mut *step.masks,
            rewards: &mut *step.rewards,
            outcomes: &mut *step.outcomes,
            final_observations: &mut self.final_observations,
        };
        self.inner.step(actions, inner_step);
        let mut cut = 0..;
        for (i, outcome) in step.outcomes.iter().enumerate() {
            let row = self.rows(i);
            if *outcome == Outcome::Truncated {
                let k = cut.next().expect("ranges without an end go on");
                let last = self.final_observations.view().range(k * self.frame_len..(k + 1) * self.frame_len);
                push(self.history.view_mut().range(row.clone()), last);
                self.write(i, step.observations.reborrow().range(row.clone()));
                step.final_observations.extend(step.observations.view().range(row.clone()));
            }
            match outcome {
                Outcome::Continues => self.push(i),
                Outcome::Terminated | Outcome::Truncated => self.begin(i),
            }
            self.write(i, step.observations.reborrow().range(row));
        }
    }

    fn state(&self) -> Vec<u8> {
        let inner = self.inner.state();
        match &self.history {
            Array::F32(history) => state::encode(KIND, &(history, inner)),
            Array::U8(history) => state::encode(KIND, &(history, inner)),
        }
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), StateError> {
        let n = self.environments();
        let (history, inner): (Array, Vec<u8>) = match self.history.dtype() {
            Dtype::F32 => {
                state::decode::<(Vec<f32>, _)>(KIND, n, state).map(|(history, inner)| (history.into(), inner))?
            }
            Dtype::U8 => {
                state::decode::<(Vec<u8>, _)>(KIND, n, state).map(|(history, inner)| (history.into(), inner))?
            }
        };
        let is_finite = match &history {
            Array::F32(numbers) => numbers.iter().all(|x| x.is_finite()),
            Array::U8(_) => true,
        };
        if history.len() != self.history.len() || !is_finite {
            return Err(StateError::new(KIND, n));
        }
        self.inner.restore(&inner)?;
        self.history = history;
        Ok(())
    }

    fn fault(&self) -> Option<String> {
        self.inner.fault()
    }

    fn scene(&mut self, index: usize) -> Option<Scene> {
        self.inner.scene(index)
    }

    fn final_scene(&mut self, index: usize) -> Option<Scene> {
        self.inner.final_scene(index)
    }
}

#[cfg(test)]
mod tests;
