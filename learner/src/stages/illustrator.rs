//! The illustrator's thread: keeps a picture of the training's progress, one episode of the newest policy every so many frames, as
//! animations in the run's directory (`render_every`). It has the least priority, as the side evaluator's. The first picture that it
//! cannot draw or write is told and is the last, and training goes on.

use crate::handover::policy_request::PolicyRequest;
use crate::handover::progress::{Progress, VersionedPolicy};
use impala_common::process::threads;
use impala_env::EnvironmentKind;
use impala_policy::evaluate::Mode;
use impala_policy::network::NetworkSpec;
use impala_render::record::{self, RecordError, RecordPlan};
use impala_render::theme::Theme;
use impala_render::{Animation, WIDTHS, gif};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Time between two looks at how far training has come: whole runs take some tenths of a second.
const IDLE: Duration = Duration::from_millis(20);
/// Steps after which an episode is cut: 20 seconds of CartPole.
const STEPS_MAX: u32 = 1000;
/// Name of the picture of the policy that the run leaves; it sorts after the others.
const LAST: &str = "last.gif";

/// The illustrator of one run.
#[derive(Debug)]
pub struct Illustrator {
    /// Where policies come from.
    pub policies: PolicyRequest,
    /// How far training has come.
    pub progress: Arc<Mutex<Progress>>,
    /// Frames trained between two pictures.
    pub every: u64,
    /// What draws them.
    pub sketch: Sketch,
}

/// What a picture is of.
#[derive(Debug)]
pub struct Sketch {
    /// Where pictures go; made with the first.
    pub directory: PathBuf,
    /// What the policy plays.
    pub environment: EnvironmentKind,
    /// What it is.
    pub network: NetworkSpec,
    /// The seed of the run: all pictures show the same beginning.
    pub seed: u64,
    /// How the policy chooses its actions.
    pub mode: Mode,
}

/// Why a picture cannot be made.
#[derive(Debug, thiserror::Error)]
enum SketchError {
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("cannot be encoded: {0}")]
    Encode(#[from] gif::EncodingError),
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

impl Illustrator {
    /// Works until it is stopped, and gives what draws the last picture; nothing where a picture could not be made.
    pub fn run(self) -> Option<Sketch> {
        threads::give_way();
        let mut due = self.frames();
        loop {
            while self.frames() < due {
                if !self.policies.rest(IDLE) {
                    return Some(self.sketch);
                }
            }
            let Some(policy) = self.policies.ask() else { return Some(self.sketch) };
            // So that their names sort as they were made.
            if !self.sketch.keep(&policy, &format!("frames-{:012}.gif", policy.frames)) {
                return None;
            }
            due = (policy.frames / self.every + 1).saturating_mul(self.every);
        }
    }

    fn frames(&self) -> u64 {
        self.progress.lock().expect("no holder of the progress panics").frames
    }
}

impl Sketch {
    /// The same of the policy that the run leaves.
    pub fn keep_last(&self, policy: &VersionedPolicy) {
        self.keep(policy, LAST);
    }

    /// Plays an episode and keeps its animation; says so where that fails, and gives whether it did not.
    fn keep(&self, policy: &VersionedPolicy, name: &str) -> bool {
        let drawn = self.draw(policy, name);
        match &drawn {
            Ok(path) => tracing::debug!(frames = policy.frames, path = %path.display(), "an episode was drawn"),
            Err(error) => {
                tracing::warn!(%error, "an episode could not be drawn, and no more are");
            }
        }
        drawn.is_ok()
    }

    fn draw(&self, policy: &VersionedPolicy, name: &str) -> Result<PathBuf, SketchError> {
        let plan = RecordPlan { seed: self.seed, mode: self.mode, steps_max: STEPS_MAX };
        let recording = record::record(&self.environment, &self.network, &policy.parameters, plan, &mut |_| {})?;
        let frames_per_second = recording.steps_per_second;
        // The smallest, since there may be many.
        let animation = Animation { theme: Theme::Light, width: *WIDTHS.start(), frames_per_second };
        let bytes = gif::encode(&recording, animation, &mut |_| {})?;
        let unwritable = |path: &PathBuf, source| SketchError::Write { path: path.clone(), source };
        std::fs::create_dir_all(&self.directory).map_err(|error| unwritable(&self.directory, error))?;
        let path = self.directory.join(name);
        impala_store::write_whole(&path, bytes).map_err(|error| unwritable(&path, error))?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use impala_common::ids::WeightsVersion;
    use impala_policy::activation::Activation;
    use impala_policy::network::PolicyHead;
    use std::thread::JoinHandle;

    fn sketch(directory: PathBuf) -> Sketch {
        let network = NetworkSpec {
            observation_len: 4,
            hidden: vec![],
            activation: Activation::Tanh,
            head: PolicyHead::single(2),
            normalises: false,
        };
        let environment = impala_env::builtin().kinds()[0].clone();
        Sketch { directory, environment, network, seed: 1, mode: Mode::Greedy }
    }

    fn policy(sketch: &Sketch, frames: u64) -> VersionedPolicy {
        let parameters = vec![0.0; sketch.network.parameter_count()].into();
        VersionedPolicy { version: WeightsVersion(frames / 80), frames, parameters }
    }

    /// An illustrator at work, with both ends of what it sees.
    fn at_work(directory: PathBuf) -> (PolicyRequest, Arc<Mutex<Progress>>, JoinHandle<Option<Sketch>>) {
        let (policies, progress) = (PolicyRequest::default(), Arc::new(Mutex::new(Progress::new(475.0))));
        let sketch = sketch(directory);
        let illustrator = Illustrator { policies: policies.clone(), progress: progress.clone(), every: 1000, sketch };
        let thread = std::thread::Builder::new().name("illustrator".into()).spawn(move || illustrator.run()).unwrap();
        (policies, progress, thread)
    }

    fn wait_for_question(policies: &PolicyRequest) {
        while !policies.is_asked() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_picture_is_kept_at_the_beginning_and_whenever_so_many_frames_have_gone_by() {
        let directory = tempfile::tempdir().unwrap();
        let renders = directory.path().join("renders");
        let (policies, progress, thread) = at_work(renders.clone());
        for frames in [80, 1040, 3920] {
            progress.lock().unwrap().frames = frames;
            wait_for_question(&policies);
            policies.answer(policy(&sketch(renders.clone()), frames));
        }
        // It asks again only after its last picture.
        progress.lock().unwrap().frames = 4000;
        wait_for_question(&policies);
        policies.stop();
        let sketch = thread.join().unwrap().expect("every picture could be made");
        sketch.keep_last(&policy(&sketch, 4000));
        let mut kept: Vec<_> = std::fs::read_dir(&renders).unwrap().map(|entry| entry.unwrap()).collect();
        kept.sort_by_key(std::fs::DirEntry::file_name);
        let names: Vec<_> = kept.iter().map(|entry| entry.file_name().into_string().unwrap()).collect();
        let of_frames = [80, 1040, 3920].map(|frames| format!("frames-{frames:012}.gif"));
        assert_eq!(names, of_frames.into_iter().chain([LAST.to_owned()]).collect::<Vec<_>>());
        assert!(kept.iter().all(|entry| std::fs::read(entry.path()).unwrap().starts_with(b"GIF89a")));
    }

    #[test]
    fn what_cannot_be_written_ends_the_pictures_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let occupied = directory.path().join("renders");
        std::fs::write(&occupied, "a file").unwrap();
        let (policies, _, thread) = at_work(occupied.clone());
        wait_for_question(&policies);
        policies.answer(policy(&sketch(occupied), 80));
        assert!(thread.join().unwrap().is_none(), "the last picture would fail as well");
    }
}
