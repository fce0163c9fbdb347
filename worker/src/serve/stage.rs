//! The environments of a worker, once it was started, and what is asked of them.

use crate::layout::{append, copy};
use crate::message::{Described, Drawn, Failure, Started};
use impala_env::array::{Array, ArrayRef};
use impala_env::seed::Rng;
use impala_env::{EnvironmentKind, Registry, StepBuffer, VectorEnvironment};
use rand::SeedableRng;

/// N environments of one kind and the memory of their newest step.
pub(super) struct Stage {
    kind: EnvironmentKind,
    environments: Box<dyn VectorEnvironment>,
    buffer: StepBuffer,
    /// `[N, D]`
    actions: Array,
}

impl Stage {
    /// What a start asks for: an environment for each of its seeds.
    pub(super) fn make(registry: &Registry, start: &[u8]) -> Result<Self, Failure> {
        let start: Started = serde_json::from_slice(start)
            .map_err(|error| Failure::new("protocol", format!("its start is none ({error})")))?;
        let Started { environment, arguments, seeds } = start;
        let unknown = |reason: String| Failure::new("unknown_environment", reason);
        let name = environment.parse().map_err(|error| unknown(format!("{error}")))?;
        let kind = registry.get(&name).map_err(|error| unknown(error.to_string()))?;
        if let Some(argument) = arguments.keys().next() {
            let text = format!("{name} is of Rust and takes no arguments, `{argument}` was given: leave it out");
            return Err(Failure::new("unsupported", text));
        }
        let environments = kind.make(seeds.iter().copied().map(Rng::seed_from_u64).collect());
        let buffer = StepBuffer::new(kind.spec(), seeds.len());
        let space = &kind.spec().actions;
        let actions = Array::zeros(space.dtype(), seeds.len() * space.components());
        Ok(Self { kind, environments, buffer, actions })
    }

    /// What the environment is looked up by.
    pub(super) fn name(&self) -> &str {
        self.kind.name().as_str()
    }

    pub(super) fn describe(&mut self, reply: &mut Vec<u8>) -> Result<(), Failure> {
        let draws = self.environments.environments() > 0 && self.environments.scene(0).is_some();
        let described = Described::of(&self.kind).with_scenes(draws);
        serde_json::to_writer(reply, &described).map_err(|error| Failure::new("malformed", error.to_string()))
    }

    pub(super) fn observe(&mut self, reply: &mut Vec<u8>) {
        self.buffer.observe(&*self.environments);
        append(self.buffer.observations.view(), reply);
        reply.extend_from_slice(&self.buffer.masks);
    }

    /// Takes the actions of a request.
    pub(super) fn step(&mut self, actions: &[u8], reply: &mut Vec<u8>) -> Result<(), Failure> {
        self.read_actions(actions)?;
        self.buffer.step(&mut *self.environments, self.actions.view());
        if let Some(fault) = self.environments.fault() {
            return Err(Failure::new("raised", fault));
        }
        let StepBuffer { observations, masks, rewards, outcomes, final_observations } = &self.buffer;
        append(observations.view(), reply);
        reply.extend_from_slice(masks);
        append(ArrayRef::F32(rewards), reply);
        reply.extend(outcomes.iter().map(|outcome| *outcome as u8));
        append(final_observations.view(), reply);
        Ok(())
    }

    /// What the environment with the index in a request looks like.
    pub(super) fn draw(&mut self, index: &[u8], reply: &mut Vec<u8>) -> Result<(), Failure> {
        let index = <[u8; 4]>::try_from(index).ok().and_then(|bytes| usize::try_from(u32::from_le_bytes(bytes)).ok());
        let Some(index) = index.filter(|index| *index < self.environments.environments()) else {
            let text = format!("a scene of one of {} environments was expected", self.environments.environments());
            return Err(Failure::new("protocol", text));
        };
        let drawn = Drawn { scene: self.environments.scene(index), final_scene: self.environments.final_scene(index) };
        serde_json::to_writer(reply, &drawn).map_err(|error| Failure::new("malformed", error.to_string()))
    }

    fn read_actions(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let expected = self.actions.len() * self.actions.dtype().size();
        if bytes.len() != expected {
            let text = format!("actions came in {} bytes, those of its environments have {expected}", bytes.len());
            return Err(Failure::new("protocol", text));
        }
        let choices = self.kind.spec().actions.choices();
        let mut taken = choices.iter().cycle().zip(bytes);
        if let Some((choices, action)) = taken.find(|(choices, action)| usize::from(**action) >= **choices) {
            return Err(Failure::new("protocol", format!("action {action} of {choices} choices")));
        }
        copy(bytes, self.actions.view_mut());
        Ok(())
    }
}
