//! The run's directory: configuration, metrics, learning curve, model, logs.

use crate::config::Config;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The run's directory cannot be made or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}; choose another --runs-dir")]
pub struct RunDirError {
    action: &'static str,
    path: PathBuf,
    source: std::io::Error,
}

/// A new directory below `runs_dir`, named after date, environment and seed.
#[derive(Clone, Debug)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// Makes the directory and writes the resolved configuration into it.
    ///
    /// # Errors
    /// The directory or the file cannot be written.
    pub fn create(config: &Config) -> Result<Self, RunDirError> {
        let error = |action, path: &Path| {
            let path = path.to_owned();
            move |source| RunDirError { action, path, source }
        };
        std::fs::create_dir_all(&config.runs_dir).map_err(error("create", &config.runs_dir))?;
        let date = humantime::format_rfc3339_seconds(SystemTime::now()).to_string().replace(':', "-");
        let name = format!("{date}-{}-seed{}", config.environment, config.seed);
        let mut path = config.runs_dir.join(&name);
        // Runs that start in the same second get a number.
        let mut number = 1;
        while let Err(source) = std::fs::create_dir(&path) {
            if source.kind() != std::io::ErrorKind::AlreadyExists {
                return Err(error("create", &path)(source));
            }
            number += 1;
            path = config.runs_dir.join(format!("{name}-{number}"));
        }
        let file = path.join("config.toml");
        std::fs::write(&file, config.to_toml()).map_err(error("write", &file))?;
        Ok(Self { path })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}
