//! Where a store is, as a person writes it.

use serde::{Deserialize, Serialize};

/// A directory or a URL; empty where nobody chose.
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
