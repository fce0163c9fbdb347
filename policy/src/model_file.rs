//! The model as a safetensors file: one tensor a parameter block, named as in the layout, with the network's description in
//! the metadata. Read back, it is all that acting and evaluating need.
//!
//! A checkpoint of a run holds the same tensors under the same names, and is read as a model too; see [`checkpoint`].

pub mod checkpoint;

use crate::activation::Activation;
use crate::network::{HIDDEN_LAYERS_MAX, MEAN, NetworkSpec, PARAMETER_COUNT_MAX, PolicyHead};
use crate::policy::Policy;
use impala_env::space::CHOICES_MAX;
use impala_env::spec::EnvironmentName;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// Why a file is no model to act with.
#[derive(Debug, thiserror::Error)]
pub enum ModelFileError {
    /// The file cannot be read.
    #[error("cannot read the model {path}: {reason}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        reason: std::io::Error,
    },
    /// Its bytes are no model.
    #[error("{path}: {reason}")]
    Model {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: ModelError,
    },
}

/// Why bytes are no model.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Not a whole safetensors file.
    #[error("it is damaged or no safetensors file: {0}")]
    Format(#[from] safetensors::SafeTensorError),
    /// A safetensors file of something else.
    #[error(
        "it is no model or checkpoint of this program: its metadata has neither `{METADATA_KEY}` nor `{}`",
        checkpoint::METADATA_KEY
    )]
    Foreign,
    /// The metadata is not what this program writes.
    #[error("its metadata cannot be read: {0}")]
    Metadata(String),
    /// Another release wrote the checkpoint.
    #[error("it is a checkpoint of format {found}, this release reads formats up to {}", checkpoint::FORMATS.end())]
    CheckpointFormat {
        /// The format of the file.
        found: u32,
    },
    /// A checkpoint with other bytes than were written.
    #[error("it is damaged: its checksum is {actual:08x}, it should be {expected:08x}")]
    Checksum {
        /// Checksum in the metadata.
        expected: u32,
        /// Checksum of the bytes that are there.
        actual: u32,
    },
    /// A tensor is missing, or is not what the network of the others needs.
    #[error("its tensor `{name}` is {actual}, it should be {expected}")]
    Tensor {
        /// The tensor.
        name: String,
        /// What was found: a type and a shape, or nothing.
        actual: String,
        /// What the network needs.
        expected: String,
    },
    /// A tensor that the network does not have.
    #[error("its tensor `{0}` belongs to no network of this program")]
    Surplus(String),
    /// The network has more layers than any that can be trained.
    #[error("its network has more than {HIDDEN_LAYERS_MAX} hidden layers, the most that are allowed")]
    TooDeep,
    /// The network is larger than any that can be trained.
    #[error("its network has {0} parameters, at most {PARAMETER_COUNT_MAX} are allowed")]
    TooLarge(usize),
    /// A parameter is infinite or no number.
    #[error("its tensor `{0}` holds numbers that are not finite: the training ran away, or the file is damaged")]
    NotFinite(String),
}

/// What the file says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelDescription {
    /// What it was trained on.
    pub environment: EnvironmentName,
    /// Nonlinearity between the layers; their sizes are the tensors'.
    pub activation: Activation,
    /// Frames trained.
    pub frames: u64,
    /// Updates; the version of the weights.
    pub updates: u64,
}

/// The metadata as JSON.
#[derive(Serialize, Deserialize)]
struct Metadata {
    #[serde(flatten)]
    description: ModelDescription,
    /// What the policy's head gives, where it is not one choice among as many as the head has outputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    head: Option<PolicyHead>,
}

/// A trained network.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// What it was trained on, and for how long.
    pub description: ModelDescription,
    /// Its sizes.
    pub network: NetworkSpec,
    /// In the order of [`NetworkSpec::layout`].
    pub parameters: Vec<f32>,
}

impl Model {
    /// The policy that it is.
    pub fn policy(&self) -> Policy {
        let mut policy = Policy::new(&self.network);
        policy.set_parameters(&self.parameters);
        policy
    }
}

/// The one key of the file's metadata; one, because the format writes several in no fixed order and equal models shall be
/// equal files.
const METADATA_KEY: &str = "impala";

/// The bytes of a model file. Whoever writes them writes the file whole.
///
/// # Errors
/// The format refuses them: a bug.
///
/// # Panics
/// If the parameters are another network's.
pub fn encode(
    spec: &NetworkSpec,
    parameters: &[f32],
    description: &ModelDescription,
) -> Result<Vec<u8>, safetensors::SafeTensorError> {
    let metadata = Metadata { description: description.clone(), head: written(&spec.head) };
    let metadata = serde_json::to_string(&metadata).expect("plain fields are JSON");
    let metadata = HashMap::from([(METADATA_KEY.to_owned(), metadata)]);
    let bytes: Vec<u8> = parameters.iter().flat_map(|p| p.to_le_bytes()).collect();
    let layout = spec.layout();
    let mut tensors = Vec::with_capacity(layout.len());
    for block in &layout {
        let data = &bytes[4 * block.range.start..4 * block.range.end];
        tensors.push((block.name.as_str(), TensorView::new(Dtype::F32, block.shape.clone(), data)?));
    }
    safetensors::serialize(tensors, Some(metadata))
}

/// Reads a model file, or the weights of a checkpoint.
///
/// # Errors
/// It cannot be read, or is no model; names the file and what is wrong with it.
pub fn load(path: &Path) -> Result<Model, ModelFileError> {
    let bytes = std::fs::read(path).map_err(|reason| ModelFileError::Read { path: path.into(), reason })?;
    decode(&bytes).map_err(|reason| ModelFileError::Model { path: path.into(), reason })
}

/// The model in the bytes of a model file or a checkpoint. They come from outside: whatever they are, this does not panic.
///
/// # Errors
/// They are no model, or a damaged one. A model file has no checksum: a flipped bit that leaves a finite number goes unnoticed.
pub fn decode(bytes: &[u8]) -> Result<Model, ModelError> {
    let file = SafeTensors::deserialize(bytes)?;
    let (_, header) = SafeTensors::read_metadata(bytes)?;
    let metadata = header.metadata().as_ref();
    let entry = |key| metadata.and_then(|metadata| metadata.get(key));
    let (Metadata { description, head }, envelope) = match (entry(METADATA_KEY), entry(checkpoint::METADATA_KEY)) {
        (Some(text), _) => (serde_json::from_str(text).map_err(unreadable)?, None),
        (None, Some(text)) => {
            let envelope = checkpoint::open(text)?;
            (checkpoint::describe(&envelope)?, Some(envelope))
        }
        (None, None) => return Err(ModelError::Foreign),
    };
    let network = network_of(&file, description.activation, head)?;
    let layout = network.layout();
    if let Some(envelope) = &envelope {
        checkpoint::check(&file, envelope, &layout)?;
    }
    let blocks: HashSet<&str> = layout.iter().map(|block| block.name.as_str()).collect();
    let is_known = |name: &str| blocks.contains(name) || envelope.is_some() && checkpoint::is_beside_the_weights(name);
    if let Some(name) = file.names().into_iter().find(|name| !is_known(name)) {
        return Err(ModelError::Surplus(name.to_owned()));
    }
    let mut parameters = Vec::with_capacity(network.parameter_count());
    for block in layout {
        let data = tensor(&file, &block.name, &block.shape)?.data();
        let before = parameters.len();
        parameters.extend(data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
        if !parameters[before..].iter().all(|x: &f32| x.is_finite()) {
            return Err(ModelError::NotFinite(block.name));
        }
    }
    Ok(Model { description, network, parameters })
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
fn unreadable(reason: impl std::error::Error) -> ModelError {
    ModelError::Metadata(reason.to_string())
}

/// The sizes that the weights' shapes tell: each hidden layer's width, and what goes in and comes out.
fn network_of(
    file: &SafeTensors<'_>,
    activation: Activation,
    head: Option<PolicyHead>,
) -> Result<NetworkSpec, ModelError> {
    let mut hidden = Vec::new();
    let mut first_inputs = None;
    while let Ok(view) = file.tensor(&format!("torso.{}.weight", hidden.len())) {
        if hidden.len() == HIDDEN_LAYERS_MAX {
            return Err(ModelError::TooDeep);
        }
        let name = format!("torso.{}.weight", hidden.len());
        let [inputs, outputs] = sides(&name, &view)?;
        first_inputs.get_or_insert(inputs);
        hidden.push(outputs);
    }
    let name = "policy.weight";
    let heads = file.tensor(name).map_err(|_| missing(name, "F32 [inputs, actions]"))?;
    let [inputs, outputs] = sides(name, &heads)?;
    let head = match head {
        Some(head) if head.outputs() == outputs => head,
        Some(head) => return Err(mismatch(name, &heads, format!("F32 [inputs, {}], for {head}", head.outputs()))),
        // Actions travel and are chosen as bytes.
        None if outputs > CHOICES_MAX => {
            return Err(mismatch(name, &heads, "F32 with at most 256 actions".into()));
        }
        None => PolicyHead::single(outputs),
    };
    let observation_len = first_inputs.unwrap_or(inputs);
    let normalises = file.names().contains(&MEAN);
    let network = NetworkSpec { observation_len, hidden, activation, head, normalises };
    match network.parameter_count() {
        count if count > PARAMETER_COUNT_MAX => Err(ModelError::TooLarge(count)),
        _ => Ok(network),
    }
}

/// A head as files tell it; left out, it is one choice among as many as there are outputs, as in files of the releases that knew no
/// other.
pub fn written(head: &PolicyHead) -> Option<PolicyHead> {
    head.as_single().is_none().then(|| head.clone())
}

/// Inputs and outputs of a weight.
fn sides(name: &str, view: &TensorView<'_>) -> Result<[usize; 2], ModelError> {
    match *view.shape() {
        [inputs, outputs] if inputs > 0 && outputs > 0 => Ok([inputs, outputs]),
        _ => Err(mismatch(name, view, "F32 [inputs, outputs], both 1 or more".into())),
    }
}

/// A tensor of the expected shape.
fn tensor<'a>(file: &SafeTensors<'a>, name: &str, shape: &[usize]) -> Result<TensorView<'a>, ModelError> {
    let expected = format!("F32 {shape:?}");
    let view = file.tensor(name).map_err(|_| missing(name, &expected))?;
    match view.dtype() == Dtype::F32 && view.shape() == shape {
        true => Ok(view),
        false => Err(mismatch(name, &view, expected)),
    }
}

fn missing(name: &str, expected: &str) -> ModelError {
    ModelError::Tensor { name: name.to_owned(), actual: "missing".into(), expected: expected.to_owned() }
}

fn mismatch(name: &str, view: &TensorView<'_>, expected: String) -> ModelError {
    let actual = format!("{:?} {:?}", view.dtype(), view.shape());
    ModelError::Tensor { name: name.to_owned(), actual, expected }
}

#[cfg(test)]
mod tests;
