//! Runs that go on, and why some do not.

use super::*;
use crate::run::checkpoint::tests::checkpoint;
use impala_env::builtin;
use std::str::FromStr;

/// A run's directory with one checkpoint after `updates`.
fn run(directory: &Path, updates: u64) -> PathBuf {
    let run = directory.join("run");
    std::fs::create_dir_all(run.join(CHECKPOINTS)).unwrap();
    let checkpoint = checkpoint(updates, 9.0);
    let name = crate::run::checkpoint_store::name_of(updates);
    std::fs::write(run.join(CHECKPOINTS).join(name), checkpoint.encode().unwrap()).unwrap();
    std::fs::write(run.join(CONFIG_FILE), checkpoint.settings.toml()).unwrap();
    run
}

fn settings(toml: &str) -> GivenSettings {
    toml.parse().unwrap()
}

/// As `--run-dir`.
fn in_directory(run: &Path) -> GivenSettings {
    let mut given = GivenSettings::default();
    given.output.run_dir = Some(run.to_owned());
    given
}

#[test]
fn a_resumed_run_keeps_its_settings_where_none_are_given() {
    let directory = tempfile::tempdir().unwrap();
    let run = run(directory.path(), 5);
    let given = settings("frames_max = 77");
    let by_name = Beginning::find(given.clone(), run.to_str(), &builtin()).unwrap();
    let by_setting = Beginning::find(in_directory(&run).or(given), None, &builtin()).unwrap();
    for beginning in [by_name, by_setting] {
        let config = Config::complete(beginning.given.clone(), &builtin()).unwrap();
        beginning.check(&config).unwrap();
        assert_eq!((config.task.seed, config.goal.frames_max), (5, 77));
        assert_eq!(beginning.run_dir.as_ref(), Some(&run));
        assert_eq!(beginning.checkpoint(), Some(&checkpoint(5, 9.0)));
        assert!(beginning.note().unwrap().starts_with("resuming after update 5, 400 frames, from "));
    }
}

#[test]
fn a_run_that_is_not_there_is_only_refused_if_it_was_to_be_resumed() {
    let directory = tempfile::tempdir().unwrap();
    let run = directory.path().join("none");
    let error = Beginning::find(GivenSettings::default(), run.to_str(), &builtin()).unwrap_err().to_string();
    assert!(error.contains("there is no checkpoint in") && error.contains("none/checkpoints"), "{error}");
    let beginning = Beginning::find(in_directory(&run), None, &builtin()).unwrap();
    assert_eq!((beginning.checkpoint(), beginning.note()), (None, None));
}

#[test]
fn a_run_to_be_resumed_beside_the_directory_of_another_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let run = run(directory.path(), 5);
    let find = |run_dir: &Path| Beginning::find(in_directory(run_dir), run.to_str(), &builtin());
    assert!(find(&run).unwrap().found.is_some());
    let error = find(&directory.path().join("other")).unwrap_err().to_string();
    assert!(error.contains("other: each names a run; give one of them"), "{error}");
}

#[test]
fn settings_that_do_not_fit_the_checkpoint_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let run = run(directory.path(), 5);
    let beginning = Beginning::find(settings("hidden = [64, 32]"), run.to_str(), &builtin()).unwrap();
    let error =
        beginning.check(&Config::complete(beginning.given.clone(), &builtin()).unwrap()).unwrap_err().to_string();
    assert!(error.starts_with("hidden = [64, 32]: the checkpoint ") && error.contains("has [64, 64]"), "{error}");
}

#[test]
fn damaged_checkpoints_are_told_and_never_begun_over() {
    let directory = tempfile::tempdir().unwrap();
    let run = run(directory.path(), 5);
    let newer = run.join(CHECKPOINTS).join(crate::run::checkpoint_store::name_of(6));
    std::fs::write(&newer, b"half").unwrap();
    let beginning = Beginning::find(GivenSettings::default(), run.to_str(), &builtin()).unwrap();
    assert!(beginning.note().unwrap().contains("after update 5"));
    let [skipped] = beginning.skipped() else { panic!("one is damaged") };
    assert!(skipped.starts_with("update-000000000006"), "{skipped}");
    std::fs::remove_file(run.join(CHECKPOINTS).join(crate::run::checkpoint_store::name_of(5))).unwrap();
    let error = Beginning::find(in_directory(&run), None, &builtin()).unwrap_err().to_string();
    assert!(error.contains("no usable checkpoint") && error.contains("another --run-dir"), "{error}");
}

#[test]
fn a_run_elsewhere_is_found_by_its_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let run = run(directory.path(), 5);
    let elsewhere = directory.path().join("elsewhere");
    std::fs::rename(run.join(CHECKPOINTS), &elsewhere).unwrap();
    let text = format!("checkpoint_store = \"file://{}\"\n", elsewhere.display());
    std::fs::write(run.join(CONFIG_FILE), text).unwrap();
    assert!(Beginning::find(GivenSettings::default(), run.to_str(), &builtin()).unwrap().checkpoint().is_some());
    let url = format!("file://{}", elsewhere.display());
    let beginning = Beginning::find(GivenSettings::default(), Some(&url), &builtin()).unwrap();
    assert!(beginning.checkpoint().is_some() && beginning.run_dir.is_none());
}

/// Adds a best checkpoint after `updates` to a run.
fn with_best(run: &Path, updates: u64) {
    let best = Checkpoint { is_best_verified: true, ..checkpoint(updates, 9.0) };
    std::fs::write(run.join(CHECKPOINTS).join("best.safetensors"), best.encode().unwrap()).unwrap();
}

#[test]
fn a_named_checkpoint_begins_a_run_of_its_own_and_leaves_the_first_alone() {
    let directory = tempfile::tempdir().unwrap();
    let run = run(directory.path(), 5);
    with_best(&run, 3);
    let name = run.to_str().unwrap();
    for named in [format!("{name}#best"), format!("{name}/checkpoints/best.safetensors")] {
        let beginning = Beginning::find(settings("frames_max = 77"), Some(&named), &builtin()).unwrap();
        let found = beginning.checkpoint().unwrap();
        assert_eq!((found.progress.updates, beginning.run_dir.as_ref()), (3, None), "{named}");
        assert!(beginning.store.is_none(), "its own directory is a new one");
        assert_eq!((found.best_mean_return, found.is_best_verified), (None, false), "the best is the first run's");
        let config = Config::complete(beginning.given.clone(), &builtin()).unwrap();
        assert_eq!((config.task.seed, config.goal.frames_max), (3, 77));
        let note = beginning.note().unwrap();
        assert!(
            note.starts_with("beginning a run of its own after update 3, ") && note.contains("best.safe"),
            "{note}"
        );
    }
    let older = format!("{name}/checkpoints/{}", crate::run::checkpoint_store::name_of(5));
    let beginning = Beginning::find(GivenSettings::default(), Some(&older), &builtin()).unwrap();
    assert_eq!((beginning.checkpoint().unwrap().progress.updates, beginning.is_branch), (5, true));
    // The run itself goes on from its newest, also by that name.
    for named in [name.to_owned(), format!("{name}#last")] {
        let beginning = Beginning::find(GivenSettings::default(), Some(&named), &builtin()).unwrap();
        assert_eq!((beginning.checkpoint().unwrap().progress.updates, beginning.run_dir.as_ref()), (5, Some(&run)));
    }
}

#[test]
fn a_named_checkpoint_never_begins_among_others() {
    let directory = tempfile::tempdir().unwrap();
    let run = run(directory.path(), 5);
    with_best(&run, 3);
    let best = format!("{}#best", run.display());
    let error = Beginning::find(in_directory(&run), Some(&best), &builtin()).unwrap_err().to_string();
    assert!(error.contains("#best begins a run of its own, but ") && error.contains("leave --resume out"), "{error}");
    let other = directory.path().join("other");
    let beginning = Beginning::find(in_directory(&other), Some(&best), &builtin()).unwrap();
    assert_eq!(beginning.run_dir.as_ref(), Some(&other));
    assert!(beginning.checkpoint().is_some());
}

#[test]
fn a_named_checkpoint_that_is_not_there_or_damaged_is_refused_with_the_fix() {
    let directory = tempfile::tempdir().unwrap();
    let run = run(directory.path(), 5);
    let refusal = |name: &str| {
        let named = format!("{}/checkpoints/{name}", run.display());
        Beginning::find(GivenSettings::default(), Some(&named), &builtin()).unwrap_err().to_string()
    };
    let error = refusal("best.safetensors");
    assert!(error.contains("best.safetensors: there is no such checkpoint; name the directory"), "{error}");
    std::fs::write(run.join(CHECKPOINTS).join("update-000000000009.safetensors"), b"half").unwrap();
    let error = refusal("update-000000000009.safetensors");
    assert!(error.contains("it is damaged or no safetensors file"), "{error}");
}

#[test]
fn a_run_whose_checkpoints_are_not_found_is_never_begun_anew() {
    let directory = tempfile::tempdir().unwrap();
    let run = run(directory.path(), 5);
    std::fs::rename(run.join(CHECKPOINTS), directory.path().join("moved")).unwrap();
    // Nothing was trained yet: a header alone is no result.
    std::fs::write(run.join(METRICS_FILE), "seconds,frames\n").unwrap();
    assert!(Beginning::find(in_directory(&run), None, &builtin()).unwrap().checkpoint().is_none());
    for result in ["metrics.csv", "model.safetensors", "summary.json"] {
        std::fs::write(run.join(result), "seconds,frames\n1,80\n").unwrap();
        let error = Beginning::find(in_directory(&run), None, &builtin()).unwrap_err().to_string();
        assert!(error.contains("run has results of a run") && error.contains("--checkpoint-store"), "{error}");
        std::fs::remove_file(run.join(result)).unwrap();
    }
    // From another directory, or moved: what the run wrote down of its store leads there.
    let moved = StoreLocation::from_str(directory.path().join("moved").to_str().unwrap()).unwrap();
    store_file::write(&run, &moved).unwrap();
    assert!(Beginning::find(in_directory(&run), None, &builtin()).unwrap().checkpoint().is_some());
}

#[test]
fn the_same_command_goes_on_with_the_run_that_it_began_at_a_checkpoint() {
    let directory = tempfile::tempdir().unwrap();
    let run = run(directory.path(), 5);
    with_best(&run, 3);
    let (best, other) = (format!("{}#best", run.display()), directory.path().join("other"));
    let begin = |best: &str| Beginning::find(in_directory(&other), Some(best), &builtin());
    let begun = begin(&best).unwrap();
    assert!(begun.needs_checkpoint(0), "else a crash before the first one would lose where it began");
    let mut first = begun.checkpoint().unwrap().clone();
    first.progress.updates = 4;
    std::fs::create_dir_all(other.join(CHECKPOINTS)).unwrap();
    let name = crate::run::checkpoint_store::name_of(4);
    std::fs::write(other.join(CHECKPOINTS).join(name), first.encode().unwrap()).unwrap();
    let again = begin(&best).unwrap();
    assert_eq!((again.checkpoint().unwrap().progress.updates, again.is_branch), (4, false));
    let file = format!("{}/checkpoints/best.safetensors", run.display());
    assert!(begin(&file).unwrap_err().to_string().contains("begins a run of its own, but "));
}

#[test]
fn a_run_that_begins_at_a_checkpoint_takes_no_place_of_another() {
    let directory = tempfile::tempdir().unwrap();
    let run = run(directory.path(), 5);
    with_best(&run, 3);
    let best = format!("{}#best", run.display());
    let begin = |other: &Path| Beginning::find(in_directory(other), Some(&best), &builtin());
    let other = directory.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("model.safetensors"), "a model").unwrap();
    let error = begin(&other).unwrap_err().to_string();
    assert!(error.contains("other has results of a run") && error.contains("--checkpoint-store"), "{error}");
    // Its checkpoints lie where it wrote down.
    store_file::write(&other, &StoreLocation::from_str(run.join(CHECKPOINTS).to_str().unwrap()).unwrap()).unwrap();
    let error = begin(&other).unwrap_err().to_string();
    assert!(error.contains("begins a run of its own, but "), "{error}");
}

#[test]
fn a_directory_with_checkpoints_takes_no_others() {
    let directory = tempfile::tempdir().unwrap();
    let [one, other] = ["one", "other"].map(|name| {
        let parent = directory.path().join(name);
        std::fs::create_dir(&parent).unwrap();
        run(&parent, 5)
    });
    let with_store = |store: &Path| {
        let mut given = in_directory(&one);
        given.checkpoints.checkpoint_store = Some(store.to_str().unwrap().parse().unwrap());
        given
    };
    let others = other.join(CHECKPOINTS);
    let url = format!("file://{}", others.display());
    for (given, resume) in [(with_store(&others), None), (in_directory(&one), Some(url.as_str()))] {
        let error = Beginning::find(given, resume, &builtin()).unwrap_err().to_string();
        assert!(error.contains("has checkpoints in ") && error.contains("leave one of the two out"), "{error}");
    }
    let mut given = with_store(&others);
    given.output.run_dir = None;
    let own = format!("file://{}", one.join(CHECKPOINTS).display());
    let error = Beginning::find(given, Some(&own), &builtin()).unwrap_err().to_string();
    assert!(error.contains("each names the run's checkpoints"), "{error}");
    // Its own under another name are no others.
    let own = one.join("..").join(one.file_name().unwrap()).join(CHECKPOINTS);
    assert!(Beginning::find(with_store(&own), None, &builtin()).unwrap().checkpoint().is_some());
    let again = format!("{}/.", one.display());
    assert!(Beginning::find(in_directory(&one), Some(&again), &builtin()).unwrap().checkpoint().is_some());
}

#[tokio::test]
async fn a_run_that_another_process_went_on_with_meanwhile_is_not_taken_over() {
    let directory = tempfile::tempdir().unwrap();
    let run = run(directory.path(), 5);
    let find = || Beginning::find(in_directory(&run), None, &builtin()).unwrap();
    let beginning = std::thread::scope(|scope| scope.spawn(find).join().unwrap());
    let store = default_store(&run);
    beginning.check_store(&store).await.unwrap();
    let later = run.join(CHECKPOINTS).join(crate::run::checkpoint_store::name_of(9));
    std::fs::write(later, checkpoint(9, 9.0).encode().unwrap()).unwrap();
    let error = beginning.check_store(&store).await.unwrap_err().to_string();
    assert!(error.contains("another process") && error.contains("start again"), "{error}");
}

#[test]
fn what_is_no_run_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let run = run(directory.path(), 5);
    std::fs::write(run.join("summary.json"), "{}").unwrap();
    let refusal = |name: &str| {
        let named = format!("{}{name}", run.display());
        Beginning::find(GivenSettings::default(), Some(&named), &builtin()).unwrap_err().to_string()
    };
    assert!(refusal("#worst").contains("after `#` stands no checkpoint's name; give"), "{}", refusal("#worst"));
    assert!(refusal("/summary.json").contains("it is a file, and no checkpoint; give"));
    let empty = Beginning::find(GivenSettings::default(), Some(""), &builtin()).unwrap_err().to_string();
    assert!(empty.contains("it is empty"), "{empty}");
    let checkpoints = format!("{}/checkpoints", run.display());
    let found = Beginning::find(GivenSettings::default(), Some(&checkpoints), &builtin()).unwrap();
    assert_eq!((found.checkpoint().unwrap().progress.updates, found.run_dir.as_ref()), (5, Some(&run)));
}
