//! Where a store is, as a person writes it: by flag, environment variable or file, all of them read here.

use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// A directory, or a URL of a kind that can be opened; empty where nobody chose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StoreLocation(String);

/// Kinds of URLs that name a store.
const SCHEMES: [&str; 4] = ["file", "s3", "gs", "az"];

/// A text that names no store.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LocationError {
    /// A URL of a kind that no store has.
    #[error("`{0}://` is no store: write a directory, file://, s3://, gs:// or az://")]
    Scheme(String),
    /// A URL of which a slash is missing: it would be a directory of that name.
    #[error("`{0}:` is followed by one slash or none: write {0}://.., or ./{0}:.. for a directory of that name")]
    Slashes(String),
    /// A path below `~`, which only a shell knows.
    #[error("`{0}` begins with `~`, which only a shell turns into a directory: write the path in full, or ./{0}")]
    Home(String),
    /// A URL that ends with its scheme.
    #[error("`{0}` names no {what}: write {0}.. with one", what = if .0 == "file://" { "directory" } else { "bucket" })]
    Nothing(String),
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
        refuse_home(&text)?;
        let Some((scheme, rest)) = text.split_once(':') else { return Ok(Self(text)) };
        let (kind, path) = (scheme.to_ascii_lowercase(), rest.strip_prefix("//"));
        match (SCHEMES.contains(&&*kind), path) {
            (true, Some(path)) if path.trim_matches('/').is_empty() => {
                Err(LocationError::Nothing(format!("{kind}://")))
            }
            (true, Some(path)) => Ok(Self(format!("{kind}://{path}"))),
            (true, None) => Err(LocationError::Slashes(kind)),
            (false, Some(_)) => Err(LocationError::Scheme(scheme.to_owned())),
            (false, None) => Ok(Self(text)),
        }
    }
}

/// Refuses a path below `~`: a shell turns that into a directory where it is not quoted, and nobody else does.
///
/// # Errors
/// It is one.
pub fn refuse_home(path: &str) -> Result<(), LocationError> {
    match path == "~" || path.starts_with("~/") {
        true => Err(LocationError::Home(path.to_owned())),
        false => Ok(()),
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
