//! Where checkpoints shall lie, as a setting.

use serde::{Deserialize, Serialize};

/// The setting `checkpoint_store`: a directory or a URL; empty for the run directory's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StoreLocation(pub String);

impl std::str::FromStr for StoreLocation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once("://") {
            Some((scheme, _)) if !["file", "s3", "gs", "az"].contains(&scheme) => Err(format!(
                "`{scheme}://` is no store for checkpoints: write a directory, file://, s3://, gs:// or az://"
            )),
            _ => Ok(Self(text.to_owned())),
        }
    }
}
