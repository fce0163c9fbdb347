//! A checkpoint: everything that a run needs to go on, as one safetensors file that any reader of the format opens.
//!
//! | tensor | content |
//! |---|---|
//! | `<block>` of the layout, e.g. `torso.0.weight` | the parameters, named and shaped as in `model.safetensors` |
//! | `optimiser.first.<block>`, `optimiser.second.<block>` | the optimiser's moments |
//! | `actor.<index>` | in deterministic runs: the actor's state after its last trained trajectory, bytes |
//!
//! The metadata has one key, `impala_checkpoint`: JSON with the format's version, a CRC-32 and the state, itself JSON:
//! counters, learning curve, account, and the resolved configuration as TOML. The CRC-32 covers the state's text and then
//! the tensors' bytes in the order of the table. Schedules are functions of the counters. The learner draws no random
//! numbers once its parameters are initialised; those of the actors are in the actors' states.
//!
//! `run::checkpoint_store` is where checkpoints lie, `stages::checkpointer` writes them. `impala_policy::model_file` reads the
//! weights, without a learner.

use crate::config::ConfigError;
use crate::handover::ledger::Account;
use crate::handover::progress::SavedProgress;
use crate::learn::optim::OptimiserState;
use crate::learn::step::LearnerStep;
use crate::run::recorded::RecordedSettings;
use bytes::Bytes;
use impala_env::Registry;
use impala_policy::network::NetworkSpec;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// Version of the format; raised when an older release could not read a newer file.
pub const FORMAT: u32 = 1;
/// The one key of the metadata.
const METADATA_KEY: &str = "impala_checkpoint";
const FIRST: &str = "optimiser.first.";
const SECOND: &str = "optimiser.second.";
const ACTOR: &str = "actor.";

/// A run at one moment, between two updates.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The run's settings.
    pub settings: RecordedSettings,
    /// `[P]`, flat in the layout's order.
    pub parameters: Vec<f32>,
    /// What the optimiser had gathered.
    pub optimiser: OptimiserState,
    /// Counters, curve, recent episodes.
    pub progress: SavedProgress,
    /// Every trajectory.
    pub account: Account,
    /// By actor index, in deterministic runs: the state after the actor's last trained trajectory, in its own format.
    pub actor_states: BTreeMap<u32, Bytes>,
    /// The best mean return over 100 episodes of any checkpoint of the run so far; the writer's to know.
    pub best_mean_return: Option<f64>,
}

/// Why bytes are no checkpoint to go on from.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Not a whole safetensors file.
    #[error("it is damaged or no safetensors file: {0}")]
    Format(#[from] safetensors::SafeTensorError),
    /// A safetensors file of something else.
    #[error("it is no checkpoint of this program (its metadata has no `{METADATA_KEY}`)")]
    Foreign,
    /// Another release wrote it.
    #[error("its format is {found}, this release reads {FORMAT}")]
    Version {
        /// The format of the file.
        found: u32,
    },
    /// Some bytes are not what was written.
    #[error("it is damaged: its checksum is {actual:08x}, it should be {expected:08x}")]
    Checksum {
        /// Checksum in the metadata.
        expected: u32,
        /// Checksum of the bytes that are there.
        actual: u32,
    },
    /// The metadata is not what this program writes.
    #[error("its metadata cannot be read: {0}")]
    Metadata(#[from] serde_json::Error),
    /// The recorded configuration is none.
    #[error("its configuration: {0}")]
    Config(#[from] ConfigError),
    /// A tensor is missing or has another shape than the recorded network.
    #[error("its tensor `{name}` is missing or not {expected}")]
    Tensor {
        /// The tensor.
        name: String,
        /// Type and shape.
        expected: String,
    },
}

/// What the metadata holds.
#[derive(Serialize, Deserialize)]
struct Envelope {
    format: u32,
    crc32: u32,
    state: String,
}

/// The part of it that every release can read.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

/// Everything that is no tensor.
#[derive(Serialize, Deserialize)]
struct State {
    progress: SavedProgress,
    optimiser_steps: u32,
    account: Account,
    best_mean_return: Option<f64>,
    config: String,
}

/// Name, type, shape and bytes of a tensor.
struct Part {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Checkpoint {
    /// The run as it is now. Waits for an update under way.
    pub fn new(
        settings: RecordedSettings,
        step: &mut LearnerStep,
        progress: SavedProgress,
        account: Account,
        actor_states: BTreeMap<u32, Bytes>,
    ) -> Self {
        Self {
            settings,
            parameters: step.parameters().to_vec(),
            optimiser: step.optimiser_state(),
            progress,
            account,
            actor_states,
            best_mean_return: None,
        }
    }

    /// The network of the parameters.
    pub fn network(&self) -> &NetworkSpec {
        self.settings.network()
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// The format refuses them: a bug.
    pub fn encode(&self) -> Result<Vec<u8>, CheckpointError> {
        let state = serde_json::to_string(&State {
            progress: self.progress.clone(),
            optimiser_steps: self.optimiser.steps,
            account: self.account,
            best_mean_return: self.best_mean_return,
            config: self.settings.toml().to_owned(),
        })?;
        let parts = self.parts();
        let crc32 = checksum(&state, parts.iter().map(|part| part.bytes.as_slice()));
        let envelope = serde_json::to_string(&Envelope { format: FORMAT, crc32, state })?;
        let view = |part| {
            let Part { name, dtype, shape, bytes }: &Part = part;
            Ok((name.as_str(), TensorView::new(*dtype, shape.clone(), bytes)?))
        };
        let tensors = parts.iter().map(view).collect::<Result<Vec<_>, CheckpointError>>()?;
        Ok(safetensors::serialize(tensors, Some(HashMap::from([(METADATA_KEY.to_owned(), envelope)])))?)
    }

    fn parts(&self) -> Vec<Part> {
        let layout = self.network().layout();
        let mut parts = Vec::with_capacity(3 * layout.len() + self.actor_states.len());
        for (prefix, numbers) in
            [("", &self.parameters), (FIRST, &self.optimiser.first), (SECOND, &self.optimiser.second)]
        {
            parts.extend(layout.iter().map(|block| Part {
                name: format!("{prefix}{}", block.name),
                dtype: Dtype::F32,
                shape: block.shape.clone(),
                bytes: numbers[block.range.clone()].iter().flat_map(|x| x.to_le_bytes()).collect(),
            }));
        }
        parts.extend(self.actor_states.iter().map(|(index, state)| Part {
            name: format!("{ACTOR}{index}"),
            dtype: Dtype::U8,
            shape: vec![state.len()],
            bytes: state.to_vec(),
        }));
        parts
    }

    /// Reads a file that [`Checkpoint::encode`] made; `registry` knows the environment.
    ///
    /// # Errors
    /// It is damaged, incomplete, another program's or another release's.
    pub fn decode(bytes: &[u8], registry: &Registry) -> Result<Self, CheckpointError> {
        let file = SafeTensors::deserialize(bytes)?;
        let (_, header) = SafeTensors::read_metadata(bytes)?;
        let metadata = header.metadata().as_ref().and_then(|metadata| metadata.get(METADATA_KEY));
        let metadata = metadata.ok_or(CheckpointError::Foreign)?;
        let Version { format } = serde_json::from_str(metadata)?;
        if format != FORMAT {
            return Err(CheckpointError::Version { found: format });
        }
        let Envelope { crc32, state, .. } = serde_json::from_str(metadata)?;
        let text = state;
        let state: State = serde_json::from_str(&text)?;
        let settings = RecordedSettings::read(state.config, registry)?;
        let layout = settings.network().layout();
        let mut order = Vec::with_capacity(3 * layout.len());
        let [parameters, first, second] = ["", FIRST, SECOND].map(|prefix| {
            let mut numbers = Vec::new();
            for block in &layout {
                let name = format!("{prefix}{}", block.name);
                let view = tensor(&file, &name, Dtype::F32, Some(&block.shape))?;
                numbers.extend(view.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
                order.push(view);
            }
            Ok::<_, CheckpointError>(numbers)
        });
        let (parameters, first, second) = (parameters?, first?, second?);
        let mut actor_states = BTreeMap::new();
        for name in file.names() {
            let Some(index) = name.strip_prefix(ACTOR).and_then(|index| index.parse().ok()) else { continue };
            actor_states.insert(index, Bytes::copy_from_slice(tensor(&file, name, Dtype::U8, None)?));
        }
        let bytes = order.into_iter().chain(actor_states.values().map(Bytes::as_ref));
        let actual = checksum(&text, bytes);
        if actual != crc32 {
            return Err(CheckpointError::Checksum { expected: crc32, actual });
        }
        Ok(Self {
            parameters,
            optimiser: OptimiserState { first, second, steps: state.optimiser_steps },
            settings,
            progress: state.progress,
            account: state.account,
            actor_states,
            best_mean_return: state.best_mean_return,
        })
    }
}

fn checksum<'a>(state: &str, tensors: impl Iterator<Item = &'a [u8]>) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(state.as_bytes());
    tensors.for_each(|bytes| hasher.update(bytes));
    hasher.finalize()
}

/// Bytes of a tensor of the expected type and shape (any, without one).
fn tensor<'a>(
    file: &SafeTensors<'a>,
    name: &str,
    dtype: Dtype,
    shape: Option<&[usize]>,
) -> Result<&'a [u8], CheckpointError> {
    let view = file.tensor(name).ok().filter(|view| view.dtype() == dtype);
    let view = view.filter(|view| shape.is_none_or(|shape| view.shape() == shape));
    let expected = || format!("{dtype:?} {:?}", shape.unwrap_or_default());
    Ok(view.ok_or_else(|| CheckpointError::Tensor { name: name.to_owned(), expected: expected() })?.data())
}

#[cfg(test)]
pub(crate) mod tests;
