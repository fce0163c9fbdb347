//! What a tracker is told of a run before its first row: settings, and what it runs on.

use super::api::batch::Entry;
use crate::config::Config;
use crate::learn::compute::ComputeDevice;
use crate::run::run_dir::RunDir;
use crate::run::tracked_run::TrackedRun;
use impala_common::process::surroundings;
use rand::RngExt;
use std::num::NonZero;
use std::path::{Path, PathBuf};

/// The tag by which a run is found again that was created and whose answer was lost.
pub(super) const KEY: &str = "impala.key";

/// A run before it is known to its tracker.
#[derive(Clone, Debug)]
pub(super) struct Introduction {
    pub(super) experiment: String,
    /// The run's name.
    pub(super) name: String,
    pub(super) params: Vec<Entry>,
    pub(super) tags: Vec<Entry>,
    /// No other run has it.
    pub(super) key: Entry,
    pub(super) directory: PathBuf,
    /// What an earlier process of the run told, and where.
    pub(super) earlier: Option<TrackedRun>,
}

impl Introduction {
    /// Of a run in this directory, which may go on with one before.
    pub(super) fn new(config: &Config, run_dir: &RunDir, device: &ComputeDevice, resumes: bool) -> Self {
        let directory = run_dir.path().to_owned();
        let params = config.hyperparameters();
        let params = params.iter().filter_map(|param| Some(Entry::new(param.setting.key, param.text()?)));
        let cpus = std::thread::available_parallelism().map_or(1, NonZero::get);
        let mut tags = vec![
            Entry::tag("mlflow.source.type", "LOCAL"),
            Entry::tag("mlflow.source.name", &program()),
            Entry::tag("impala.version", env!("CARGO_PKG_VERSION")),
            Entry::tag("impala.host", &surroundings::host()),
            Entry::tag("impala.system", &format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)),
            Entry::tag("impala.cpus", &cpus.to_string()),
            Entry::tag("impala.device", if device.is_cpu() { "cpu" } else { "gpu" }),
        ];
        let commit = std::env::current_dir().ok().and_then(|directory| commit_at(&directory));
        tags.extend(commit.map(|commit| Entry::tag("mlflow.source.git.commit", &commit)));
        tags.retain(|tag| !tag.value.is_empty());
        Self {
            experiment: config.output.mlflow_experiment.clone(),
            name: run_dir.name().to_owned(),
            params: params.collect(),
            tags,
            key: Entry::new(KEY, format!("{:032x}", rand::rng().random::<u128>())),
            earlier: resumes.then(|| TrackedRun::read(&directory)).flatten(),
            directory,
        }
    }
}

/// The name of this program.
fn program() -> String {
    let path = std::env::current_exe().ok();
    path.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned())).unwrap_or_default()
}

/// The commit that is checked out in the git clone that a directory belongs to, if it belongs to one. Whether files were changed since is
/// not looked at.
fn commit_at(directory: &Path) -> Option<String> {
    let git = directory.ancestors().map(|ancestor| ancestor.join(".git")).find(|git| git.exists())?;
    // Of a second work tree it is a file that names the place.
    let git = match std::fs::read_to_string(&git) {
        Ok(text) => git.parent()?.join(text.strip_prefix("gitdir:")?.trim()),
        Err(_) => git,
    };
    let head = std::fs::read_to_string(git.join("HEAD")).ok()?;
    let Some(reference) = head.trim().strip_prefix("ref: ") else { return commit(&head) };
    let common = std::fs::read_to_string(git.join("commondir")).map_or(git.clone(), |text| git.join(text.trim()));
    let loose = std::fs::read_to_string(common.join(reference)).ok().and_then(|text| commit(&text));
    loose.or_else(|| {
        let packed = std::fs::read_to_string(common.join("packed-refs")).ok()?;
        packed.lines().find_map(|line| commit(line.strip_suffix(reference)?.strip_suffix(' ')?))
    })
}

fn commit(text: &str) -> Option<String> {
    let text = text.trim();
    let is_commit = text.len() >= 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_commit.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    /// A directory with these files, and one in it to stand in.
    fn clone(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let inner = directory.path().join("tree/src");
        std::fs::create_dir_all(&inner).unwrap();
        (directory, inner)
    }

    #[test]
    fn the_commit_is_that_of_the_clone_around_the_working_directory() {
        let told = |files: &[(&str, &str)]| commit_at(&clone(files).1);
        let line = &format!("{COMMIT}\n");
        let head = ("tree/.git/HEAD", "ref: refs/heads/a/b\n");
        assert_eq!(told(&[("tree/.git/HEAD", line)]), Some(COMMIT.into()));
        assert_eq!(told(&[head, ("tree/.git/refs/heads/a/b", line)]), Some(COMMIT.into()));
        let packed = &format!("# pack-refs\n{} refs/heads/x/a/b\n{COMMIT} refs/heads/a/b\n", COMMIT.replace('0', "1"));
        assert_eq!(told(&[head, ("tree/.git/packed-refs", packed)]), Some(COMMIT.into()));
        let second = [
            ("tree/.git", "gitdir: ../main/.git/worktrees/tree\n"),
            ("main/.git/worktrees/tree/HEAD", "ref: refs/heads/a/b\n"),
            ("main/.git/worktrees/tree/commondir", "../..\n"),
            ("main/.git/refs/heads/a/b", line),
        ];
        assert_eq!(told(&second), Some(COMMIT.into()));
        // Before the first commit there is none.
        assert_eq!(told(&[head]), None);
    }
}
