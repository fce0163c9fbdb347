//! What a person names with `--resume`: a run, or one checkpoint of it.

use crate::run::checkpoint_store::{BEST, CheckpointStore, CheckpointStoreError, SUFFIX};
use crate::run::resume::{CHECKPOINTS, CONFIG_FILE, default_store, recorded_location};
use impala_store::{LocationError, StoreError};
use std::path::{Path, PathBuf};

/// What follows a run to name its best checkpoint, and its newest.
const BEST_MARK: &str = "#best";
const LAST_MARK: &str = "#last";

/// What is named.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::run) enum Origin<'a> {
    /// A run, by its directory or the URL of its checkpoints: its newest checkpoint.
    Run(&'a str),
    /// One checkpoint.
    Checkpoint {
        /// Where it lies.
        place: Place<'a>,
        /// Its name there.
        name: &'a str,
    },
}

/// Where the checkpoints of a run are looked for.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::run) enum Place<'a> {
    /// The run in this directory knows.
    RunDir(&'a str),
    /// In this directory.
    Directory(&'a str),
    /// There.
    Url(&'a str),
}

impl<'a> Origin<'a> {
    /// Reads what was given; whether it is there, the store says.
    pub(in crate::run) fn parse(text: &'a str) -> Self {
        if let Some(run) = text.strip_suffix(BEST_MARK) {
            return Self::Checkpoint {
                place: if is_url(run) { Place::Url(run) } else { Place::RunDir(run) },
                name: BEST,
            };
        }
        if let Some(run) = text.strip_suffix(LAST_MARK) {
            return Self::Run(run);
        }
        match text.rsplit_once('/') {
            _ if !text.ends_with(SUFFIX) => Self::Run(text),
            // Not the directory of a run: the file lies among its checkpoints.
            Some((url, name)) if is_url(text) => Self::Checkpoint { place: Place::Url(url), name },
            Some(("", name)) => Self::Checkpoint { place: Place::Directory("/"), name },
            Some((directory, name)) => Self::Checkpoint { place: Place::Directory(directory), name },
            None => Self::Checkpoint { place: Place::Directory("."), name: text },
        }
    }
}

impl Place<'_> {
    /// The checkpoints there.
    ///
    /// # Errors
    /// The URL, or what the run says of its store, names none.
    pub(in crate::run) fn open(&self) -> Result<CheckpointStore, CheckpointStoreError> {
        match *self {
            Place::Directory(path) => Ok(CheckpointStore::directory(path)),
            Place::Url(url) => CheckpointStore::open(&url.parse().map_err(|reason| location_error(url, reason))?),
            Place::RunDir(path) => match recorded_location(Path::new(path)) {
                Some(location) => CheckpointStore::open(&location),
                None => Ok(default_store(Path::new(path))),
            },
        }
    }
}

/// The directory of the run that a text names: its own, or that of its checkpoints.
pub(in crate::run) fn run_dir(run: &str) -> PathBuf {
    let path = Path::new(run);
    match path.parent().filter(|_| path.file_name().is_some_and(|name| name == CHECKPOINTS)) {
        Some(parent) if !path.join(CHECKPOINTS).exists() && parent.join(CONFIG_FILE).exists() => parent.to_owned(),
        _ => path.to_owned(),
    }
}

/// Whether a text names a place by a URL and not by a path.
pub(in crate::run) fn is_url(text: &str) -> bool {
    text.contains("://")
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
pub(in crate::run) fn location_error(location: &str, reason: LocationError) -> CheckpointStoreError {
    CheckpointStoreError::Location(StoreError::Location { location: location.to_owned(), reason: reason.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_its_best_checkpoint_and_a_file_are_told_apart() {
        let checkpoint = |place, name| Origin::Checkpoint { place, name };
        for (text, expected) in [
            ("runs/x", Origin::Run("runs/x")),
            ("runs/x#last", Origin::Run("runs/x")),
            ("s3://bucket/x", Origin::Run("s3://bucket/x")),
            ("runs/x#3", Origin::Run("runs/x#3")),
            ("runs/x#best", checkpoint(Place::RunDir("runs/x"), BEST)),
            ("s3://bucket/x#best", checkpoint(Place::Url("s3://bucket/x"), BEST)),
            ("runs/x/checkpoints/best.safetensors", checkpoint(Place::Directory("runs/x/checkpoints"), BEST)),
            ("best.safetensors", checkpoint(Place::Directory("."), BEST)),
            ("/best.safetensors", checkpoint(Place::Directory("/"), BEST)),
            ("s3://bucket/x/update-7.safetensors", checkpoint(Place::Url("s3://bucket/x"), "update-7.safetensors")),
        ] {
            assert_eq!(Origin::parse(text), expected, "{text}");
        }
    }
}
