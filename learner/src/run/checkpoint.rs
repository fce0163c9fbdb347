//! A checkpoint: everything that a run needs to go on, as one safetensors file that any reader of the format opens.
//!
//! | tensor | content |
//! |---|---|
//! | `<block>` of the layout, e.g. `torso.0.weight` | the parameters, named and shaped as in `model.safetensors` |
//! | `optimiser.first.<block>`, `optimiser.second.<block>` | the optimiser's moments |
//! | `optimiser.largest.<block>` | the largest that its second moments have been; format 1 lacks it |
//! | `actor.<index>` | in deterministic runs: the actor's state after its last trained trajectory, bytes |
//! | `verified.<block>` | the parameters of the policy that solved the task, where that is an earlier one; format 1 lacks it |
//!
//! The metadata has one key, `impala_checkpoint`: JSON with the format's version, a CRC-32 and the state, itself JSON:
//! counters, learning curve, account, in deterministic runs the episodes that go on, and the resolved configuration as TOML.
//! The CRC-32 covers the state's text and then the tensors' bytes in the order of the table. Names, envelope and checksum are
//! those of `impala_policy::model_file`'s `checkpoint`, which reads the weights without a learner. Schedules are functions of
//! the counters. The learner draws no random numbers once its parameters are initialised; those of the actors are in the
//! actors' states.
//!
//! `run::checkpoint_store` is where checkpoints lie, `stages::checkpointer` writes them.

use crate::config::ConfigError;
use crate::handover::episodes::SavedEpisodes;
use crate::handover::ledger::Account;
use crate::handover::progress::{SavedProgress, VersionedPolicy};
use crate::learn::normalise::{Normaliser, SavedNormaliser};
use crate::learn::optim::OptimiserState;
use crate::learn::step::LearnerStep;
use crate::run::recorded::RecordedSettings;
use bytes::Bytes;
use impala_common::ids::WeightsVersion;
use impala_env::Registry;
use impala_policy::model_file::checkpoint::{
    Envelope, FORMATS, METADATA_KEY, PREFIXES, VERIFIED, actor_index, actor_tensor, checksum, format_of,
};
use impala_policy::model_file::{self, ModelError};
use impala_policy::network::{NetworkSpec, ParameterBlock, PolicyHead};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A run at one moment, between two updates.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The run's settings.
    pub settings: RecordedSettings,
    /// `[P]`, flat in the layout's order.
    pub parameters: Vec<f32>,
    /// What the optimiser had gathered.
    pub optimiser: OptimiserState,
    /// Statistics of observations and rewards, where the run keeps some.
    pub normaliser: Option<SavedNormaliser>,
    /// Counters, curve, recent episodes.
    pub progress: SavedProgress,
    /// Every trajectory.
    pub account: Account,
    /// By actor index, in deterministic runs: the state after the actor's last trained trajectory, in its own format.
    pub actor_states: BTreeMap<u32, Bytes>,
    /// In deterministic runs: the episodes that go on. Releases before they were kept wrote none; those that ran then count
    /// for nothing.
    pub episodes: Option<SavedEpisodes>,
    /// The parameters of the policy that solved the task, where this checkpoint's are later ones.
    pub verified: Option<Arc<[f32]>>,
    /// The best mean return over 100 episodes of any checkpoint of the run so far; the writer's to know.
    pub best_mean_return: Option<f64>,
    /// Whether the store's best checkpoint is that of a verified policy; the writer's to know.
    pub is_best_verified: bool,
    /// What the run began with, as it was named, if with a checkpoint of another run; the writer's to know.
    pub origin: Option<String>,
    /// As the how manieth process its writer had taken the object store; nothing in a directory. The writer's to know.
    pub epoch: Option<u64>,
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
    #[error("its format is {found}, this release reads formats up to {}", FORMATS.end())]
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
    /// No run comes to the recorded progress.
    #[error("its progress has {0}")]
    Progress(String),
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

/// More columns than any batch has.
const COLUMNS_MAX: f64 = 1e9;

/// Everything that is no tensor.
#[derive(Serialize, Deserialize)]
struct State {
    progress: SavedProgress,
    optimiser_steps: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    optimiser_columns: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    normaliser: Option<SavedNormaliser>,
    account: Account,
    best_mean_return: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    episodes: Option<SavedEpisodes>,
    #[serde(default)]
    is_best_verified: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
    /// What the policy's head gives, for whoever reads the model; the configuration says it too, to whom knows the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    head: Option<PolicyHead>,
    config: String,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(number: &f64) -> bool {
    *number == 0.0
}

/// Type, shape and bytes of a tensor.
struct Part {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Checkpoint {
    /// The run as it is now. Waits for an update under way.
    pub fn new(
        settings: RecordedSettings,
        step: &mut LearnerStep,
        (progress, verified): (SavedProgress, Option<VersionedPolicy>),
        account: Account,
        actor_states: BTreeMap<u32, Bytes>,
    ) -> Self {
        let verified = verified.filter(|verified| verified.version.0 != progress.updates);
        Self {
            settings,
            parameters: step.parameters().to_vec(),
            optimiser: step.optimiser_state(),
            normaliser: step.normaliser(),
            progress,
            account,
            actor_states,
            episodes: None,
            verified: verified.map(|verified| verified.parameters),
            best_mean_return: None,
            is_best_verified: false,
            origin: None,
            epoch: None,
        }
    }

    /// The network of the parameters.
    pub fn network(&self) -> &NetworkSpec {
        self.settings.network()
    }

    /// Whether its own policy is the one that solved the task.
    pub fn is_verified(&self) -> bool {
        let updates = self.progress.updates;
        self.progress.solved.is_some() && self.progress.tries.verified.as_ref().is_some_and(|v| v.updates == updates)
    }

    /// The policy that solved the task, if it is solved.
    pub fn verified_policy(&self) -> Option<VersionedPolicy> {
        let (verified, solved) = (self.progress.tries.verified.as_ref()?, self.progress.solved?);
        let parameters = self.verified.clone().unwrap_or_else(|| self.parameters.as_slice().into());
        Some(VersionedPolicy { version: WeightsVersion(verified.updates), frames: solved.frames, parameters })
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// The format refuses them: a bug.
    pub fn encode(&self) -> Result<Vec<u8>, CheckpointError> {
        let state = serde_json::to_string(&State {
            progress: self.progress.clone(),
            optimiser_steps: self.optimiser.steps,
            optimiser_columns: self.optimiser.columns,
            normaliser: self.normaliser.clone(),
            account: self.account,
            best_mean_return: self.best_mean_return,
            episodes: self.episodes.clone(),
            is_best_verified: self.is_best_verified,
            origin: self.origin.clone(),
            epoch: self.epoch,
            head: model_file::written(&self.network().head),
            config: self.settings.toml().to_owned(),
        })?;
        let layout = self.network().layout();
        let parts = self.parts(&layout);
        let actors = self.actor_states.keys().copied();
        let crc32 = checksum(&state, &layout, actors, |name| Some(parts.get(name)?.bytes.as_slice()));
        let envelope = serde_json::to_string(&Envelope { format: *FORMATS.end(), crc32, state })?;
        let mut tensors = Vec::with_capacity(parts.len());
        for (name, Part { dtype, shape, bytes }) in &parts {
            tensors.push((name.as_str(), TensorView::new(*dtype, shape.clone(), bytes)?));
        }
        Ok(safetensors::serialize(tensors, Some(HashMap::from([(METADATA_KEY.to_owned(), envelope)])))?)
    }

    /// The tensors by name.
    fn parts(&self, layout: &[ParameterBlock]) -> BTreeMap<String, Part> {
        let mut parts = BTreeMap::new();
        let OptimiserState { first, second, largest, .. } = &self.optimiser;
        let numbers = [&self.parameters, first, second, largest].map(Vec::as_slice);
        let verified = self.verified.iter().map(|verified| (VERIFIED, verified.as_ref()));
        for (prefix, numbers) in PREFIXES.into_iter().zip(numbers).chain(verified) {
            for block in layout {
                // The optimiser knows nothing of what no gradient reaches.
                let Some(numbers) = numbers.get(block.range.clone()) else { continue };
                let bytes = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
                let part = Part { dtype: Dtype::F32, shape: block.shape.clone(), bytes };
                parts.insert(format!("{prefix}{}", block.name), part);
            }
        }
        for (index, state) in &self.actor_states {
            let part = Part { dtype: Dtype::U8, shape: vec![state.len()], bytes: state.to_vec() };
            parts.insert(actor_tensor(*index), part);
        }
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
        let format = format_of(metadata)?;
        if !FORMATS.contains(&format) {
            return Err(CheckpointError::Version { found: format });
        }
        let Envelope { crc32, state, .. } = serde_json::from_str(metadata)?;
        let text = state;
        let state: State = serde_json::from_str(&text)?;
        let settings = RecordedSettings::read(state.config, registry).map_err(|error| damage_or(error, bytes))?;
        let (layout, trained) = (settings.network().layout(), settings.network().trained().layout());
        let [parameters, first, second, largest] =
            PREFIXES.map(|prefix| numbers(&file, if prefix.is_empty() { &layout } else { &trained }, prefix));
        let (parameters, first, second) = (parameters?, first?, second?);
        // How large they have been before is not known of a run of format 1: they only grow from here on.
        let largest = if format == 1 { second.clone() } else { largest? };
        let is_earlier = state.progress.tries.verified.as_ref().is_some_and(|v| v.updates != state.progress.updates);
        let verified = is_earlier.then(|| numbers(&file, &layout, VERIFIED)).transpose()?;
        let mut actor_states = BTreeMap::new();
        for name in file.names() {
            let Some(index) = actor_index(name) else { continue };
            actor_states.insert(index, Bytes::copy_from_slice(tensor(&file, name, Dtype::U8, None)?));
        }
        let bytes = |name: &str| Some(file.tensor(name).ok()?.data());
        let actual = checksum(&text, &layout, actor_states.keys().copied(), bytes);
        if actual != crc32 {
            return Err(CheckpointError::Checksum { expected: crc32, actual });
        }
        state.progress.validate().map_err(CheckpointError::Progress)?;
        if !(0.0..=COLUMNS_MAX).contains(&state.optimiser_columns) {
            return Err(CheckpointError::Progress(format!(
                "optimiser_columns = {}, between 0 and {COLUMNS_MAX}",
                state.optimiser_columns
            )));
        }
        state.account.validate().map_err(CheckpointError::Progress)?;
        if !is_of(state.normaliser.as_ref(), settings.network()) {
            let what = "statistics of observations or rewards that are none of its network";
            return Err(CheckpointError::Progress(what.into()));
        }
        if let Some(episodes) = &state.episodes {
            let rollout = settings.config()?.rollout;
            episodes.validate(rollout.actors, rollout.environments_per_actor).map_err(CheckpointError::Progress)?;
        }
        Ok(Self {
            parameters,
            optimiser: OptimiserState {
                first,
                second,
                largest,
                steps: state.optimiser_steps,
                columns: state.optimiser_columns,
            },
            settings,
            normaliser: state.normaliser,
            progress: state.progress,
            account: state.account,
            actor_states,
            episodes: state.episodes,
            verified: verified.map(Arc::from),
            best_mean_return: state.best_mean_return,
            is_best_verified: state.is_best_verified,
            origin: state.origin,
            epoch: state.epoch,
        })
    }
}

/// Whether statistics are such as a run with this network keeps.
fn is_of(saved: Option<&SavedNormaliser>, network: &NetworkSpec) -> bool {
    let none = SavedNormaliser::default();
    Normaliser::new(network.normalises.then_some(network.observation_len), None).restore(saved.unwrap_or(&none))
}

/// What a configuration that cannot be read means: damage, where the checksum says so.
fn damage_or(error: ConfigError, bytes: &[u8]) -> CheckpointError {
    match model_file::decode(bytes) {
        Err(ModelError::Checksum { expected, actual }) => CheckpointError::Checksum { expected, actual },
        _ => error.into(),
    }
}

/// The numbers of the tensors whose names begin with `prefix`, in the layout's order.
fn numbers(file: &SafeTensors<'_>, layout: &[ParameterBlock], prefix: &str) -> Result<Vec<f32>, CheckpointError> {
    let mut numbers = Vec::new();
    for block in layout {
        let view = tensor(file, &format!("{prefix}{}", block.name), Dtype::F32, Some(&block.shape))?;
        numbers.extend(view.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
    }
    Ok(numbers)
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
