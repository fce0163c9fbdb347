//! Where a store is, as a person writes it: by flag, environment variable or file, all of them read here.

use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// A directory, or a URL of a kind that can be opened; empty where nobody chose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StoreLocation(String);

/// A URL of a kind that no store has.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{scheme}://` is no store: write a directory, file://, s3://, gs:// or az://")]
pub struct LocationError {
    scheme: String,
}

impl StoreLocation {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether nobody chose.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<String> for StoreLocation {
    type Error = LocationError;

    fn try_from(text: String) -> Result<Self, LocationError> {
        match text.split_once("://") {
            Some((scheme, _)) if !["file", "s3", "gs", "az"].contains(&scheme) => {
                Err(LocationError { scheme: scheme.to_owned() })
            }
            _ => Ok(Self(text)),
        }
    }
}

impl FromStr for StoreLocation {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        text.to_owned().try_into()
    }
}

impl From<StoreLocation> for String {
    fn from(location: StoreLocation) -> Self {
        location.0
    }
}
