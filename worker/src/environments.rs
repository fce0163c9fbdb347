//! The environments of an actor in its workers, in one order: the first worker has the first of them.
//!
//! What fails is kept: the first failure ends all workers, and from then on there are zeros and a sentence that says why.

use crate::error::{Fault, WorkerError};
use crate::launch::Launch;
use crate::message::{Description, Drawn};
use crate::picture::Picture;
use crate::worker::Worker;
use impala_env::array::{Array, ArrayMut, ArrayRef};
use impala_env::scene::Scene;
use impala_env::spec::EnvironmentSpec;
use impala_env::{Half, Halves, Outcome, StateError, Step, VectorEnvironment};
use std::ops::Range;

/// N environments in up to W processes. Where there are two of these, one half of the environments steps while an actor chooses the
/// actions of the other ([`Halves`]).
#[derive(Debug)]
pub struct WorkerEnvironments {
    launch: Launch,
    spec: EnvironmentSpec,
    environments: usize,
    /// Whether they say what they look like.
    draws: bool,
    /// None after a failure.
    workers: Workers,
    /// Workers that have the first half of the environments.
    first_workers: usize,
    /// Environments of that half; 0 where one worker has all.
    first: usize,
    failure: Option<String>,
}

/// In the order of their environments. All are asked to end before the end of one is waited for.
#[derive(Debug, Default)]
struct Workers(Vec<Share>);

/// A worker and which of the actor's environments it has.
#[derive(Debug)]
struct Share {
    worker: Worker,
    range: Range<usize>,
}

impl WorkerEnvironments {
    /// Starts the workers and waits until all show their first observations: an environment for each seed.
    ///
    /// # Errors
    /// A worker cannot be started or fails, or two describe their environments differently.
    pub fn start(launch: &Launch, seeds: &[u64]) -> Result<Self, WorkerError> {
        let environments = seeds.len();
        let mut workers = Workers::default();
        // Every worker loads its libraries while the others do.
        for (number, range) in shares(environments, launch.workers).enumerate() {
            workers.0.push(Share { worker: Worker::start(launch, number, range.start)?, range });
        }
        for Share { worker, range } in &mut workers.0 {
            worker.ask(&seeds[range.clone()])?;
        }
        let mut first: Option<Description> = None;
        for (number, Share { worker, range }) in workers.0.iter_mut().enumerate() {
            let description = worker.describe(range.len())?;
            if first.as_ref().is_some_and(|first| *first != description) {
                return Err(error(launch, number, Fault::Differs));
            }
            first.get_or_insert(description);
            worker.observe()?;
        }
        let Some(Description { spec, scenes: draws, .. }) = first else { return Err(error(launch, 0, Fault::Ended)) };
        let first_workers = workers.0.len() / 2;
        let first = workers.0[first_workers].range.start;
        Ok(Self { launch: launch.clone(), spec, environments, draws, workers, first_workers, first, failure: None })
    }

    /// Those that could not be started, with the reason as their [`VectorEnvironment::fault`].
    pub(crate) fn failed(launch: &Launch, spec: &EnvironmentSpec, environments: usize, error: &WorkerError) -> Self {
        let (spec, failure) = (spec.clone(), Some(error.to_string()));
        let (launch, workers) = (launch.clone(), Workers::default());
        Self { launch, spec, environments, draws: false, workers, first_workers: 0, first: 0, failure }
    }

    /// The name and shape of the environment.
    pub fn spec(&self) -> &EnvironmentSpec {
        &self.spec
    }

    /// Begins a step of these workers' environments, `[n, D]` actions, which goes on while the caller does something else.
    fn send(&mut self, workers: Range<usize>, actions: ArrayRef<'_>) -> Result<(), WorkerError> {
        self.is_alive()?;
        let components = self.spec.actions.components();
        let shares = &mut self.workers.0[workers];
        let first = shares.first().map_or(0, |share| share.range.start);
        let sent = shares.iter_mut().try_for_each(|Share { worker, range }| {
            worker.send_step(actions.range((range.start - first) * components..(range.end - first) * components))
        });
        self.kept(sent)
    }

    /// Waits for the end of the step that was begun. After a failure the step has zeros.
    fn receive(&mut self, workers: Range<usize>, mut step: Step<'_>) -> Result<(), WorkerError> {
        let received = self.is_alive().and_then(|()| self.receive_all(workers, &mut step));
        if received.is_err() {
            clear(&mut step);
        }
        self.kept(received)
    }

    fn receive_all(&mut self, workers: Range<usize>, step: &mut Step<'_>) -> Result<(), WorkerError> {
        let (len, mask_len) = (self.spec.observation_len(), self.spec.mask_len());
        let shares = &mut self.workers.0[workers];
        let first = shares.first().map_or(0, |share| share.range.start);
        for Share { worker, range } in shares {
            let range = range.start - first..range.end - first;
            let of_worker = Step {
                observations: step.observations.reborrow().range(range.start * len..range.end * len),
                masks: &mut step.masks[range.start * mask_len..range.end * mask_len],
                rewards: &mut step.rewards[range.clone()],
                outcomes: &mut step.outcomes[range],
                final_observations: step.final_observations,
            };
            worker.receive_step(of_worker)?;
        }
        Ok(())
    }

    fn workers_of(&self, half: Half) -> Range<usize> {
        match half {
            Half::First => 0..self.first_workers,
            Half::Second => self.first_workers..self.workers.0.len(),
        }
    }

    /// A picture of one of them, where the launch said that pictures will be asked for.
    ///
    /// # Errors
    /// The environment cannot draw itself, or a worker failed.
    ///
    /// # Panics
    /// There is no environment with this index.
    pub fn render(&mut self, index: usize) -> Result<Picture, WorkerError> {
        assert!(index < self.environments, "environment {index} of {}", self.environments);
        self.is_alive()?;
        let Share { worker, range } = self.workers.of(index);
        let rendered = worker.render(index - range.start);
        self.kept(rendered)
    }

    /// What one of them looks like, where they say so. Not between the halves of a step.
    fn draw(&mut self, index: usize) -> Option<Drawn> {
        if !self.draws || self.is_alive().is_err() {
            return None;
        }
        let Share { worker, range } = self.workers.of(index);
        let drawn = worker.draw(index - range.start);
        self.kept(drawn).ok()
    }

    fn is_alive(&self) -> Result<(), WorkerError> {
        match self.failure {
            None => Ok(()),
            Some(_) => Err(error(&self.launch, 0, Fault::Ended)),
        }
    }

    /// Remembers the first failure. The answers of the other workers would be those to an earlier question, so they end as well.
    fn kept<T>(&mut self, result: Result<T, WorkerError>) -> Result<T, WorkerError> {
        if let (Err(error), None) = (&result, &self.failure) {
            self.failure = Some(error.to_string());
            self.workers = Workers::default();
        }
        result
    }
}

impl VectorEnvironment for WorkerEnvironments {
    fn environments(&self) -> usize {
        self.environments
    }

    fn observe(&self, mut observations: ArrayMut<'_>, masks: &mut [u8]) {
        if self.failure.is_some() {
            zero(observations);
            return masks.fill(0);
        }
        let (len, mask_len) = (self.spec.observation_len(), self.spec.mask_len());
        for Share { worker, range } in &self.workers.0 {
            let of_worker = observations.reborrow().range(range.start * len..range.end * len);
            worker.read_shown(of_worker, &mut masks[range.start * mask_len..range.end * mask_len]);
        }
    }

    fn step(&mut self, actions: ArrayRef<'_>, step: Step<'_>) {
        let all = 0..self.workers.0.len();
        // Both remember what failed, and the caller asks for that; without a question there is no answer to wait for.
        let _ = self.send(all.clone(), actions);
        let _ = self.receive(all, step);
    }

    fn halves(&mut self) -> Option<&mut dyn Halves> {
        if self.first > 0 { Some(self) } else { None }
    }

    fn state(&self) -> Vec<u8> {
        Vec::new()
    }

    fn restore(&mut self, _: &[u8]) -> Result<(), StateError> {
        Err(StateError::new("gymnasium", self.environments))
    }

    fn fault(&self) -> Option<String> {
        self.failure.clone()
    }

    /// What the environment says, or else its picture, where the launch said that pictures will be asked for.
    fn scene(&mut self, index: usize) -> Option<Scene> {
        match self.draws {
            true => self.draw(index)?.scene,
            false if self.launch.renders => self.render(index).ok()?.scene(),
            false => None,
        }
    }

    /// An episode's last picture is gone when the step returns.
    fn final_scene(&mut self, index: usize) -> Option<Scene> {
        self.draw(index)?.final_scene
    }
}

impl Workers {
    /// The one that has this environment of the actor.
    fn of(&mut self, index: usize) -> &mut Share {
        let share = self.0.iter_mut().find(|share| share.range.contains(&index));
        share.expect("every environment has a worker")
    }
}

impl Halves for WorkerEnvironments {
    fn first(&self) -> usize {
        self.first
    }

    fn begin(&mut self, half: Half, actions: ArrayRef<'_>) {
        // A failure is remembered, as in a whole step.
        let _ = self.send(self.workers_of(half), actions);
    }

    fn end(&mut self, half: Half, step: Step<'_>) {
        let _ = self.receive(self.workers_of(half), step);
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|share| share.worker.let_go());
    }
}

/// Ranges of nearly the same length, no more of them than there are environments.
fn shares(environments: usize, workers: usize) -> impl Iterator<Item = Range<usize>> {
    let workers = workers.clamp(1, environments.max(1));
    (0..workers).map(move |worker| worker * environments / workers..(worker + 1) * environments / workers)
}

fn error(launch: &Launch, worker: usize, fault: Fault) -> WorkerError {
    WorkerError { environment: launch.environment.clone(), worker, fault }
}

fn clear(step: &mut Step<'_>) {
    zero(step.observations.reborrow());
    step.masks.fill(0);
    step.rewards.fill(0.0);
    step.outcomes.fill(Outcome::Continues);
    Array::clear(step.final_observations);
}

fn zero(numbers: ArrayMut<'_>) {
    match numbers {
        ArrayMut::F32(numbers) => numbers.fill(0.0),
        ArrayMut::U8(numbers) => numbers.fill(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environments_are_shared_evenly_and_in_order() {
        let of = |environments, workers| shares(environments, workers).collect::<Vec<_>>();
        assert_eq!(of(7, 3), [0..2, 2..4, 4..7]);
        assert_eq!(of(2, 8), [0..1, 1..2]);
        assert_eq!(of(4, 0), vec![0..4]);
    }
}
