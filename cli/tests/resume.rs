//! Runs that end in the middle, by every kind of end, and go on.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use impala_harness::processes::{ENDLESS, Program, Run, signal, until, wait_for_end};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

/// The program under test.
const IMPALA: Program = Program::at(env!("CARGO_BIN_EXE_impala"));

/// Enough updates that a kill falls into the middle.
const DETERMINISTIC: [&str; 11] = [
    "--deterministic",
    "--actors",
    "2",
    "--solved-return",
    "501",
    "--frames-max",
    "240000",
    "--checkpoint-every",
    "20",
    "--checkpoint-interval",
    "0.01",
];

fn checkpoints(run: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(run.join("checkpoints")).into_iter().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with("update-"));
    paths.sort();
    paths
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Trains until there are checkpoints, then kills the process in a way that it cannot notice.
fn killed(run: &Run, arguments: &[&str]) -> PathBuf {
    let mut child = run.train(arguments).stdout(Stdio::null()).spawn().unwrap();
    let directory = run.begun();
    let store = directory.join("checkpoints");
    until("a directory of checkpoints", &directory, || store.exists().then_some(()));
    until("three checkpoints", &store, || (checkpoints(&directory).len() >= 3).then_some(()));
    signal(child.id(), "KILL");
    wait_for_end(&mut child);
    assert!(!directory.join("model.safetensors").exists(), "the run was over before it was killed");
    directory
}

fn resume(run: &Path, arguments: &[&str]) -> Output {
    IMPALA.command(&["train", "--quiet", "--resume", run.to_str().unwrap()]).args(arguments).output().unwrap()
}

#[test]
fn a_deterministic_run_that_was_killed_ends_with_the_bits_of_one_that_was_not() {
    let whole = Run::of(IMPALA);
    let whole_text = text(&whole.train(&DETERMINISTIC).output().unwrap());
    let expected = fs::read(whole.directory().join("model.safetensors")).unwrap();

    let run = Run::of(IMPALA);
    let directory = killed(&run, &DETERMINISTIC);
    // Half of a newer one, as a machine without fsync might leave it.
    let newest = checkpoints(&directory).pop().unwrap();
    let bytes = fs::read(&newest).unwrap();
    fs::write(directory.join("checkpoints/update-000000999999.safetensors"), &bytes[..bytes.len() / 2]).unwrap();

    let output = resume(&directory, &[]);
    let text = text(&output);
    // Also the episodes that were in the middle when the checkpoint was written.
    for counted in ["trained  ", "mean return  "] {
        let line = |text: &str| text.lines().find(|line| line.starts_with(counted)).map(str::to_owned);
        assert_eq!(line(&text), line(&whole_text), "{text}");
        assert!(line(&text).is_some(), "{text}");
    }
    assert!(text.contains("resumed       after update "), "{text}");
    assert!(text.contains("trained       240000 frames in 3000 updates"), "{text}");
    assert!(text.contains(" 0 in flight"), "{text}");
    let log = fs::read_to_string(directory.join("learner.log")).unwrap();
    assert!(
        log.contains("WARN passed over a newer checkpoint: update-000000999999.safetensors: it is damaged"),
        "{log}"
    );
    assert!(fs::read(directory.join("model.safetensors")).unwrap() == expected, "another model");
    // One table, without a second header.
    let csv = fs::read_to_string(directory.join("metrics.csv")).unwrap();
    assert_eq!(csv.matches("seconds,frames").count(), 1);
}

#[test]
fn a_deterministic_run_on_numbers_that_was_killed_ends_with_the_same_bits_too() {
    // The statistics that it normalises by go on with the rest.
    let own = ["--environment", "pendulum-v1", "--normalise-observations", "--normalise-rewards"];
    let arguments = [&own, &DETERMINISTIC[..3], &DETERMINISTIC[5..]].concat();
    let whole = Run::of(IMPALA);
    let output = whole.train(&arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "the budget ends it: {}", text(&output));
    let run = Run::of(IMPALA);
    let directory = killed(&run, &arguments);
    resume(&directory, &[]);
    let models = [whole.directory(), directory].map(|run| fs::read(run.join("model.safetensors")).unwrap());
    assert!(models[0] == models[1], "another model");
}

#[test]
fn a_run_that_was_killed_goes_on_and_its_account_closes() {
    let run = Run::of(IMPALA);
    let arguments = ["--checkpoint-every", "50", "--checkpoint-interval", "0.01", "--actors", "2"];
    let directory = killed(&run, &[&ENDLESS[..], &arguments].concat());
    let output = resume(&directory, &["--solved-return", "475", "--frames-max", "2000000"]);
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("result        solved") && text.contains(" 0 in flight"), "{text}");
    // The settings of the run hold where none were given.
    let config = fs::read_to_string(directory.join("config.toml")).unwrap();
    assert!(config.contains("\ncheckpoint_every = 50\n") && config.contains("\nsolved_return = 475.0\n"), "{config}");
}

#[test]
fn a_run_that_is_over_stays_over() {
    let run = Run::of(IMPALA);
    let output = run.train(&[]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let directory = run.directory();
    let model = fs::read(directory.join("model.safetensors")).unwrap();
    let files = ["summary.txt", "summary.json", "metrics.csv", "config.toml"];
    let read = || files.map(|file| fs::read_to_string(directory.join(file)).unwrap());
    let results = read();
    let again = resume(&directory, &["--seed", "9"]);
    assert!(again.status.success(), "{}", text(&again));
    assert!(text(&again).contains("result        solved"), "{}", text(&again));
    assert!(fs::read(directory.join("model.safetensors")).unwrap() == model, "it trained on");
    assert_eq!(String::from_utf8_lossy(&again.stdout), results[0]);
    assert_eq!(read(), results, "of a process that did nothing");
    // Nor are actors started for it, which append to their logs.
    let logs = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
    let logs: Vec<_> = logs.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("actor-")).collect();
    logs.iter().for_each(|log| fs::remove_file(log).unwrap());
    // A summary that is lost is written anew.
    fs::write(directory.join("summary.json"), "{").unwrap();
    assert!(resume(&directory, &[]).status.success());
    assert!(fs::read_to_string(directory.join("summary.json")).unwrap().contains("\"end\": \"solved\""));
    assert!(!logs.is_empty() && logs.iter().all(|log| !log.exists()), "{logs:?}");
}

#[test]
fn the_best_checkpoint_begins_a_run_of_its_own() {
    let run = Run::of(IMPALA);
    assert!(run.train(&[]).output().unwrap().status.success());
    let directory = run.directory();
    let model = fs::read(directory.join("model.safetensors")).unwrap();
    let before = checkpoints(&directory);
    let best = format!("{}#best", directory.display());

    // It is solved, so there is nothing to train.
    let other = Run::of(IMPALA);
    let output = other.train(&["--resume", &best]).output().unwrap();
    let told = text(&output);
    assert!(output.status.success() && told.contains("result        solved\n"), "{told}");
    assert!(told.contains("resumed       after update "), "{told}");
    assert!(fs::read(other.directory().join("model.safetensors")).unwrap() == model, "it is another policy");

    // Trained on, it leaves the verified policy, and checkpoints of its own.
    let further = Run::of(IMPALA);
    let output = further.train(&["--resume", &best, "--frames-after-solved", "80000"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let of_its_own = further.directory();
    assert!(fs::read(of_its_own.join("model.safetensors")).unwrap() == model, "it is another policy");
    assert!(!checkpoints(&of_its_own).is_empty() && of_its_own.join("checkpoints/best.safetensors").exists());
    assert_eq!(checkpoints(&directory), before);

    let refused = text(&resume(&directory, &["--run-dir", directory.to_str().unwrap()]));
    assert!(refused.contains("result        solved"), "the run itself stays over: {refused}");
    let refused = IMPALA.command(&["train", "--resume", &best, "--run-dir"]).arg(&directory).output().unwrap();
    assert!(text(&refused).contains("#best begins a run of its own, but "), "{}", text(&refused));
}

#[test]
fn an_interrupted_run_goes_on_from_its_last_update() {
    let run = Run::of(IMPALA);
    // No checkpoints but the last.
    let mut child = run
        .train(&[&ENDLESS[..], &["--actors", "2", "--checkpoint-every", "0"]].concat())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    run.wait_for_training();
    signal(child.id(), "TERM");
    wait_for_end(&mut child);
    let first = text(&child.wait_with_output().unwrap());
    let directory = run.directory();
    let [last] = &checkpoints(&directory)[..] else { panic!("not one checkpoint: {first}") };
    let update = last.file_stem().unwrap().to_str().unwrap().trim_start_matches("update-").trim_start_matches('0');
    assert!(first.contains(&format!(" frames in {update} updates")), "{update}: {first}");
    let second = text(&resume(&directory, &["--frames-max", "1000"]));
    assert!(second.contains(&format!("resumed       after update {update};")), "{second}");
}

#[test]
fn a_run_whose_checkpoints_cannot_be_written_goes_on_and_says_so() {
    let run = Run::of(IMPALA);
    let store = run.path().with_extension("store");
    // A way to nowhere: there is nothing to read, and nothing can be made.
    fs::create_dir_all(store.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("nowhere/at/all", &store).unwrap();
    let output = run.train(&["--checkpoint-every", "100", "--checkpoint-store", store.to_str().unwrap()]).output();
    let output = output.unwrap();
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("FAILED, at last: cannot write"), "{text}");
    let log = fs::read_to_string(run.directory().join("learner.log")).unwrap();
    assert!(log.contains("a checkpoint could not be written"), "{log}");
}

#[test]
fn what_cannot_be_resumed_is_refused_with_the_fix() {
    let nothing = resume(Path::new("no-such-run"), &[]);
    assert!(!nothing.status.success());
    assert!(
        text(&nothing).contains("--resume no-such-run: there is no checkpoint in no-such-run"),
        "{}",
        text(&nothing)
    );
    let url = IMPALA.command(&["train", "--resume", "ftp://host/run"]).output().unwrap();
    assert!(text(&url).contains("`ftp://` is no store: write a directory"), "{}", text(&url));

    let run = Run::of(IMPALA);
    run.train(&["--frames-max", "2000"]).output().unwrap();
    let conflict = resume(&run.directory(), &["--hidden", "32"]);
    assert!(text(&conflict).contains("error: hidden = [32]: the checkpoint "), "{}", text(&conflict));

    let run = Run::of(IMPALA);
    run.train(&["--deterministic", "--frames-max", "2000"]).output().unwrap();
    let conflict = resume(&run.directory(), &["--environments-per-actor", "4"]);
    let expected = "error: environments_per_actor = 4: the checkpoint ";
    assert!(text(&conflict).contains(expected) && text(&conflict).contains("has 8"), "{}", text(&conflict));
}

#[test]
fn a_run_that_was_resumed_elsewhere_is_found_there() {
    let run = Run::of(IMPALA);
    run.train(&["--frames-max", "2000"]).output().unwrap();
    let first = run.directory();
    let url = format!("file://{}/checkpoints", first.display());
    let elsewhere = Run::of(IMPALA);
    let resume_url = |arguments: &[&str]| {
        let output = elsewhere.train(&[&["--resume", &url], arguments].concat()).output().unwrap();
        text(&output)
    };
    assert!(resume_url(&["--frames-max", "4000"]).contains("resumed       after update 25;"));
    // The directory of the second process names the store, and a directory that was moved is no other run's.
    let moved = first.with_file_name("moved");
    fs::rename(elsewhere.directory(), &moved).unwrap();
    let config = fs::read_to_string(moved.join("config.toml")).unwrap();
    assert!(
        config.contains(&format!("checkpoint_store = \"{url}\"")) && config.contains("\n# run_dir is not given: "),
        "{config}"
    );
    let again = text(&resume(&moved, &["--frames-max", "6000"]));
    assert!(again.contains("resumed       after update 50;"), "{again}");
    // A configuration that was lost is in the checkpoints.
    fs::write(first.join("config.toml"), "half a confi").unwrap();
    let again = text(&resume(&first, &["--frames-max", "8000"]));
    assert!(again.contains("resumed       after update 75;"), "{again}");
}

#[test]
fn a_run_goes_on_from_a_checkpoint_of_format_1_with_its_actors_states() {
    let golden = include_bytes!("../../learner/tests/data/checkpoint-format-1.safetensors");
    let ends = [(); 2].map(|()| {
        let directory = tempfile::tempdir().unwrap();
        let run = directory.path().join("run");
        fs::create_dir_all(run.join("checkpoints")).unwrap();
        fs::write(run.join("checkpoints/update-000000000010.safetensors"), golden).unwrap();
        let output = resume(&run, &["--frames-max", "3200"]);
        let text = text(&output);
        assert!(text.contains("resumed       after update 10"), "{text}");
        assert!(text.contains("trained       3200 frames in 20 updates"), "{text}");
        // What the actors had sent beyond the end depends on the moment.
        assert!(text.contains(" = 40 trained + ") && text.contains(" + 0 lost in transit + 0 in flight"), "{text}");
        fs::read(run.join("model.safetensors")).unwrap()
    });
    assert!(ends[0] == ends[1], "one checkpoint, two ends");
}
