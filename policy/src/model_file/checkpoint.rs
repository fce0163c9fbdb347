//! What a reader of models and a learner must both know of a checkpoint: the same file format with the optimiser's moments and the
//! actors' states beside the weights, and a checksum over all of it. The learner's `run::checkpoint`, which writes and resumes
//! from checkpoints, takes names, envelope and checksum from here; what else a run's state holds is its own business.

use super::{Metadata, ModelDescription, ModelError, unreadable};
use crate::activation::Activation;
use crate::network::{ParameterBlock, PolicyHead};
use impala_env::spec::EnvironmentName;
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// Versions of the format that this release reads, of which it writes the newest; a new one where an older release could not read
/// a newer file. Format 1 lacks the largest second moments and the verified policy.
pub const FORMATS: RangeInclusive<u32> = 1..=2;
/// The one key of a checkpoint's metadata; its value is an [`Envelope`].
pub const METADATA_KEY: &str = "impala_checkpoint";
/// What stands before a block's name in the names of the tensors that have the network's layout: those of the parameters, of the
/// optimiser's first moments, of its second moments and of the largest that these have been.
pub const PREFIXES: [&str; 4] = ["", FIRST, SECOND, LARGEST];
const FIRST: &str = "optimiser.first.";
const SECOND: &str = "optimiser.second.";
const LARGEST: &str = "optimiser.largest.";
/// What stands before a block's name in the names of the tensors with the parameters of the policy that solved the task, in a
/// checkpoint of a later version of it.
pub const VERIFIED: &str = "verified.";
const ACTOR: &str = "actor.";

/// What the metadata holds, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The file's version of the format, one of [`FORMATS`].
    pub format: u32,
    /// The [`checksum`].
    pub crc32: u32,
    /// Everything that is no tensor, itself JSON.
    pub state: String,
}

/// The part of it that every release can read.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

/// The part of the run's state that describes its model.
#[derive(Deserialize)]
struct State {
    progress: Progress,
    /// TOML.
    config: String,
    /// As [`written`](super::written) gives it.
    #[serde(default)]
    head: Option<PolicyHead>,
}

#[derive(Deserialize)]
struct Progress {
    frames: u64,
    updates: u64,
}

#[derive(Deserialize)]
struct Settings {
    environment: EnvironmentName,
    activation: Activation,
}

/// The format of a checkpoint with this metadata, whatever release wrote it.
///
/// # Errors
/// It is no checkpoint's metadata.
pub fn format_of(metadata: &str) -> serde_json::Result<u32> {
    serde_json::from_str(metadata).map(|Version { format }| format)
}

/// Name of the tensor with an actor's state.
pub fn actor_tensor(index: u32) -> String {
    format!("{ACTOR}{index}")
}

/// The actor whose state the tensor of this name holds, if it is such a tensor.
pub fn actor_index(name: &str) -> Option<u32> {
    let index = name.strip_prefix(ACTOR)?.parse().ok()?;
    (actor_tensor(index) == name).then_some(index)
}

/// CRC-32 over the state's text and then the bytes of the tensors: those of each of [`PREFIXES`] in the order of the layout, then
/// the states of the actors, whose indices ascend, then the verified policy's parameters. A tensor that `bytes` does not know adds
/// nothing.
pub fn checksum<'a>(
    state: &str,
    layout: &[ParameterBlock],
    actors: impl IntoIterator<Item = u32>,
    bytes: impl Fn(&str) -> Option<&'a [u8]>,
) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(state.as_bytes());
    let mut add = |name: &str| bytes(name).into_iter().for_each(|bytes| hasher.update(bytes));
    for prefix in PREFIXES {
        layout.iter().for_each(|block| add(&format!("{prefix}{}", block.name)));
    }
    actors.into_iter().for_each(|index| add(&actor_tensor(index)));
    layout.iter().for_each(|block| add(&format!("{VERIFIED}{}", block.name)));
    hasher.finalize()
}

/// Whether a tensor is one that a checkpoint has besides the weights.
pub(super) fn is_beside_the_weights(name: &str) -> bool {
    PREFIXES[1..].iter().chain([&VERIFIED]).any(|prefix| name.starts_with(prefix)) || actor_index(name).is_some()
}

/// The metadata of a checkpoint of this format.
///
/// # Errors
/// It is of another format, or not what this program writes.
pub(super) fn open(metadata: &str) -> Result<Envelope, ModelError> {
    match format_of(metadata).map_err(unreadable)? {
        known if FORMATS.contains(&known) => serde_json::from_str(metadata).map_err(unreadable),
        found => Err(ModelError::CheckpointFormat { found }),
    }
}

/// What the checkpoint says of its model.
///
/// # Errors
/// The state is not what this program writes.
pub(super) fn describe(envelope: &Envelope) -> Result<Metadata, ModelError> {
    let State { progress, config, head } = serde_json::from_str(&envelope.state).map_err(unreadable)?;
    let Settings { environment, activation } = toml::from_str(&config).map_err(unreadable)?;
    let Progress { frames, updates } = progress;
    Ok(Metadata { description: ModelDescription { environment, activation, frames, updates }, head })
}

/// Holds the file to its checksum.
///
/// # Errors
/// It is damaged.
pub(super) fn check(file: &SafeTensors<'_>, envelope: &Envelope, layout: &[ParameterBlock]) -> Result<(), ModelError> {
    let mut actors: Vec<u32> = file.names().into_iter().filter_map(actor_index).collect();
    actors.sort_unstable();
    let bytes = |name: &str| Some(file.tensor(name).ok()?.data());
    let (expected, actual) = (envelope.crc32, checksum(&envelope.state, layout, actors, bytes));
    match actual == expected {
        true => Ok(()),
        false => Err(ModelError::Checksum { expected, actual }),
    }
}
