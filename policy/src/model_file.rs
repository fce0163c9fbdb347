//! The model as a safetensors file: one tensor a parameter block, named as in the layout, with the network's description in
//! the metadata.

use crate::activation::Activation;
use crate::network::NetworkSpec;
use impala_env::spec::EnvironmentName;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;

/// The model cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ModelFileError {
    /// The format refuses it.
    #[error("cannot write the model")]
    Format(#[from] safetensors::SafeTensorError),
    /// The file system refuses it.
    #[error("cannot write the model")]
    Io(#[from] std::io::Error),
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

/// The one key of the file's metadata; one, because the format writes several in no fixed order and equal models shall be
/// equal files.
const METADATA_KEY: &str = "impala";

/// Writes the parameters to `path`, by way of a temporary file, so that no half-written model is ever seen.
///
/// # Errors
/// The file cannot be written.
pub fn save(
    path: &Path,
    spec: &NetworkSpec,
    parameters: &[f32],
    description: &ModelDescription,
) -> Result<(), ModelFileError> {
    let description = serde_json::to_string(description).expect("plain fields are JSON");
    let metadata = HashMap::from([(METADATA_KEY.to_owned(), description)]);
    let bytes: Vec<u8> = parameters.iter().flat_map(|p| p.to_le_bytes()).collect();
    let layout = spec.layout();
    let mut tensors = Vec::with_capacity(layout.len());
    for block in &layout {
        let data = &bytes[4 * block.range.start..4 * block.range.end];
        tensors.push((block.name.as_str(), TensorView::new(Dtype::F32, block.shape.clone(), data)?));
    }
    let serialized = safetensors::serialize(tensors, Some(metadata))?;
    let temporary = path.with_extension("tmp");
    std::fs::write(&temporary, serialized)?;
    std::fs::rename(&temporary, path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::SafeTensors;

    #[test]
    fn the_reference_reader_finds_every_block_bit_for_bit() {
        let spec = NetworkSpec { observation_len: 4, hidden: vec![3], activation: Activation::Tanh, action_count: 2 };
        let parameters: Vec<f32> = (0..spec.parameter_count()).map(|i| i as f32 * 0.37 - 1.0).collect();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model.safetensors");
        let description = ModelDescription {
            environment: EnvironmentName::CartPoleV1,
            activation: Activation::Tanh,
            frames: 80,
            updates: 1,
        };
        save(&path, &spec, &parameters, &description).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let metadata = &header.metadata().as_ref().unwrap()[METADATA_KEY];
        assert_eq!(serde_json::from_str::<ModelDescription>(metadata).unwrap(), description);
        let file = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(file.len(), spec.layout().len());
        for block in spec.layout() {
            let tensor = file.tensor(&block.name).unwrap();
            assert_eq!(tensor.shape(), block.shape);
            let numbers: Vec<f32> =
                tensor.data().chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
            assert_eq!(numbers, parameters[block.range]);
        }
    }
}
