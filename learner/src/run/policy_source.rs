//! A policy that a person names: a run, one of its checkpoints, a model file, or a learner at work. For programs that use what was
//! learned; it trains nothing and writes nothing.

use crate::run::checkpoint_store::{CheckpointStore, CheckpointStoreError, Found};
use crate::run::resume::origin::{self, Origin, Place};
use crate::run::resume::wait_for;
use crate::run::run_dir::MODEL_FILE;
use impala_common::channel::client::{self, AskError};
use impala_common::channel::{Dialler, LearnerUrl};
use impala_env::Registry;
use impala_env::spec::EnvironmentName;
use impala_policy::model_file::{self, Model, ModelFileError};
use impala_policy::network::NetworkSpec;
use std::path::Path;
use tokio::runtime;

/// What the URLs of learners begin with.
const LEARNER_SCHEMES: [&str; 2] = ["http://", "dns:///"];

/// A policy, with what is needed to play it.
#[derive(Clone, Debug)]
pub struct NamedPolicy {
    /// What it was trained on.
    pub environment: EnvironmentName,
    /// What the parameters belong to.
    pub network: NetworkSpec,
    /// In the order of [`NetworkSpec::layout`].
    pub parameters: Vec<f32>,
    /// Updates that made it.
    pub updates: u64,
    /// Where it was found, for people.
    pub source: String,
}

/// Why no policy was found under a name.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It names nothing that is there.
    #[error(
        "`{0}` is no policy: name the directory of a run (also with `#best` or `#last`), a checkpoint or model file (*.safetensors), the URL of checkpoints (s3://..), or a learner (http://HOST:PORT)"
    )]
    Nothing(String),
    /// The directory is none of a run.
    #[error(
        "{0} is no run that left something: it has neither {MODEL_FILE} nor a checkpoint; the directory of a run lies in runs/"
    )]
    NoRun(String),
    /// The file is no model.
    #[error(transparent)]
    File(#[from] ModelFileError),
    /// The checkpoints cannot be read, or none of them is sound.
    #[error("{0}")]
    Store(CheckpointStoreError),
    /// The learner gives no model.
    #[error("no model from the learner at {url}: {reason}")]
    Learner {
        /// The learner.
        url: String,
        /// Why not.
        reason: AskError,
    },
    /// It serves an environment whose name is none.
    #[error("the learner at {url} serves an environment without a name that is valid: {reason}")]
    Environment {
        /// The learner.
        url: String,
        /// What is wrong with it.
        reason: impala_env::spec::NameError,
    },
}

impl From<CheckpointStoreError> for PolicyError {
    /// Not as a source: the message has all of it.
    fn from(error: CheckpointStoreError) -> Self {
        Self::Store(error)
    }
}

/// Finds the policy that is named. Of a run its model, which it leaves when it ends; of one that has none yet, its newest checkpoint.
/// To be called where no runtime is.
///
/// # Errors
/// There is none, or it cannot be read.
pub fn find(named: &str, registry: &Registry) -> Result<NamedPolicy, PolicyError> {
    if let Some(url) = learner_url(named) {
        return from_learner(url, named);
    }
    let path = Path::new(named);
    if !origin::is_url(named) {
        if path.is_file() {
            return from_file(path);
        }
        if path.join(MODEL_FILE).is_file() {
            return from_file(&path.join(MODEL_FILE));
        }
    }
    let (store, name) = match Origin::parse(named) {
        Origin::Checkpoint { place, name } => (place.open()?, Some(name)),
        Origin::Run(run) if origin::is_url(run) => (Place::Url(run).open()?, None),
        Origin::Run(run) if Path::new(run).is_dir() => {
            let run_dir = origin::run_dir(run);
            (Place::RunDir(run_dir.to_str().unwrap_or(run)).open()?, None)
        }
        Origin::Run(_) => return Err(PolicyError::Nothing(named.to_owned())),
    };
    from_store(&store, name, registry)?.ok_or_else(|| PolicyError::NoRun(named.to_owned()))
}

/// The learner that is named, if it can be one: by its scheme, or as HOST:PORT where no such file is.
fn learner_url(named: &str) -> Option<LearnerUrl> {
    let is_schemed = LEARNER_SCHEMES.iter().any(|scheme| named.starts_with(scheme));
    let is_bare = !named.contains('/') && named.contains(':') && !Path::new(named).exists();
    (is_schemed || is_bare).then(|| named.parse().ok()).flatten()
}

fn from_learner(url: LearnerUrl, named: &str) -> Result<NamedPolicy, PolicyError> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(CheckpointStoreError::Runtime)?;
    let model = runtime.block_on(client::model(&Dialler::new(url)));
    // A look-up that hangs in the system's resolver must not hold up the end.
    runtime.shutdown_background();
    let url = || named.to_owned();
    let client::Model { environment, network, version, parameters } =
        model.map_err(|reason| PolicyError::Learner { url: url(), reason })?;
    let environment = environment.name.parse().map_err(|reason| PolicyError::Environment { url: url(), reason })?;
    let source = format!("the learner at {named}, update {version}");
    Ok(NamedPolicy { environment, network, parameters, updates: version.0, source })
}

fn from_file(path: &Path) -> Result<NamedPolicy, PolicyError> {
    let Model { description, network, parameters } = model_file::load(path)?;
    let (updates, frames) = (description.updates, description.frames);
    let source = format!("{}, update {updates}, {frames} frames", path.display());
    Ok(NamedPolicy { environment: description.environment, network, parameters, updates, source })
}

/// The checkpoint of this name, or the newest one, if there is any.
fn from_store(
    store: &CheckpointStore,
    name: Option<&str>,
    registry: &Registry,
) -> Result<Option<NamedPolicy>, PolicyError> {
    let found = wait_for(async {
        match name {
            Some(name) => store.named(name, registry).await.map(Some),
            None => store.newest(registry).await,
        }
    })?;
    Ok(found.map(|Found { checkpoint, name, .. }| {
        let (network, progress) = (checkpoint.network().clone(), &checkpoint.progress);
        let source = format!("{store}/{name}, update {}, {} frames", progress.updates, progress.frames);
        let (updates, environment) = (progress.updates, checkpoint.settings.environment().clone());
        NamedPolicy { environment, network, parameters: checkpoint.parameters, updates, source }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use impala_policy::activation::Activation;
    use impala_policy::model_file::ModelDescription;
    use impala_policy::network::PolicyHead;

    fn model(path: &Path, updates: u64) {
        let network = NetworkSpec {
            observation_len: 4,
            hidden: vec![],
            activation: Activation::Tanh,
            head: PolicyHead::single(2),
            normalises: false,
        };
        let parameters = vec![0.5; network.parameter_count()];
        let environment = "cartpole-v1".parse().unwrap();
        let description = ModelDescription { environment, activation: Activation::Tanh, frames: 80 * updates, updates };
        std::fs::write(path, model_file::encode(&network, &parameters, &description).unwrap()).unwrap();
    }

    fn found(named: &Path) -> Result<NamedPolicy, String> {
        find(named.to_str().unwrap(), &impala_env::builtin()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_model_file_and_the_run_that_left_one_are_the_same_policy() {
        let run = tempfile::tempdir().unwrap();
        let file = run.path().join(MODEL_FILE);
        model(&file, 7);
        let (of_run, of_file) = (found(run.path()).unwrap(), found(&file).unwrap());
        assert_eq!((of_run.updates, of_run.environment.as_str()), (7, "cartpole-v1"));
        assert_eq!((&of_run.parameters, &of_run.source), (&of_file.parameters, &of_file.source));
        assert_eq!(of_file.source, format!("{}, update 7, 560 frames", file.display()));
    }

    #[test]
    fn what_names_no_policy_is_told_what_would() {
        let directory = tempfile::tempdir().unwrap();
        let there = directory.path();
        assert!(found(there).unwrap_err().contains("is no run that left something"));
        assert!(found(&there.join("nothing")).unwrap_err().contains("is no policy: name the directory of a run"));
        let best = found(&there.join("#best")).unwrap_err();
        assert!(best.contains("there is no such checkpoint"), "{best}");
        std::fs::write(there.join("model.safetensors"), b"half a mod").unwrap();
        let damaged = found(there).unwrap_err();
        assert!(damaged.contains("model.safetensors: it is damaged or no safetensors file"), "{damaged}");
        std::fs::write(there.join("text.txt"), b"text").unwrap();
        assert!(found(&there.join("text.txt")).unwrap_err().contains("text.txt: it is damaged or no"));
    }

    #[test]
    fn a_learner_is_told_from_a_path() {
        let is_learner = |named: &str| learner_url(named).is_some();
        assert!(["http://learner:50051", "dns:///learner:50051", "localhost:50051"].into_iter().all(is_learner));
        assert!(!["runs/a:1", "s3://bucket/run", "model.safetensors", "runs/x#best"].into_iter().any(is_learner));
    }
}
