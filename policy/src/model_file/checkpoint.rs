//! What a reader of models must know of a learner's checkpoint: the same file format with the optimiser's moments and the actors'
//! states beside the weights, and a checksum over all of it. The learner's `run::checkpoint` is its author.

use super::{ModelDescription, ModelError, unreadable};
use crate::activation::Activation;
use impala_env::spec::EnvironmentName;
use safetensors::SafeTensors;
use serde::Deserialize;

/// The version of the format that is read.
pub(super) const FORMAT: u32 = 1;
/// The one key of a checkpoint's metadata.
pub(super) const METADATA_KEY: &str = "impala_checkpoint";
const FIRST: &str = "optimiser.first.";
const SECOND: &str = "optimiser.second.";
const ACTOR: &str = "actor.";

/// The part that every release can read.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

#[derive(Deserialize)]
struct Envelope {
    crc32: u32,
    state: String,
}

/// The part of the run's state that describes its model.
#[derive(Deserialize)]
struct State {
    progress: Progress,
    /// TOML.
    config: String,
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

/// Whether a tensor is one that a checkpoint has besides the weights.
pub(super) fn is_beside_the_weights(name: &str) -> bool {
    name.starts_with(FIRST) || name.starts_with(SECOND) || actor_index(name).is_some()
}

fn actor_index(name: &str) -> Option<u32> {
    name.strip_prefix(ACTOR)?.parse().ok()
}

/// Checks format and checksum, and tells what the checkpoint says of its model.
///
/// # Errors
/// It is of another format, damaged, or not what this program writes.
pub(super) fn check(file: &SafeTensors<'_>, metadata: &str) -> Result<ModelDescription, ModelError> {
    let Version { format } = serde_json::from_str(metadata).map_err(unreadable)?;
    if format != FORMAT {
        return Err(ModelError::CheckpointFormat { found: format });
    }
    let Envelope { crc32: expected, state } = serde_json::from_str(metadata).map_err(unreadable)?;
    let actual = checksum(file, &state);
    if actual != expected {
        return Err(ModelError::Checksum { expected, actual });
    }
    let State { progress, config } = serde_json::from_str(&state).map_err(unreadable)?;
    let Settings { environment, activation } = toml::from_str(&config).map_err(unreadable)?;
    let Progress { frames, updates } = progress;
    Ok(ModelDescription { environment, activation, frames, updates })
}

/// Over the state's text and then the tensors' bytes: parameters, first moments, second moments, each in the layout's order,
/// then the actors' states by index.
fn checksum(file: &SafeTensors<'_>, state: &str) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(state.as_bytes());
    let mut add = |name: &str| match file.tensor(name) {
        Ok(view) => {
            hasher.update(view.data());
            true
        }
        Err(_) => false,
    };
    for prefix in ["", FIRST, SECOND] {
        let mut layer = |name: &str| {
            let has_weight = add(&format!("{prefix}{name}.weight"));
            has_weight & add(&format!("{prefix}{name}.bias"))
        };
        let mut i = 0;
        while layer(&format!("torso.{i}")) {
            i += 1;
        }
        layer("policy");
        layer("value");
    }
    let mut actors: Vec<_> = file.names().into_iter().filter_map(|name| Some((actor_index(name)?, name))).collect();
    actors.sort_unstable();
    actors.iter().for_each(|(_, name)| {
        add(name);
    });
    hasher.finalize()
}
