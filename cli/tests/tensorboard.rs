//! The event files of real runs, read to their end as TensorBoard reads them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use impala_harness::processes::{Program, Run};
use impala_learner::report::sinks::tensorboard::messages::{Content, Event, SessionStatus, Summary, What};
use prost::Message;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The program under test.
const IMPALA: Program = Program::at(env!("CARGO_BIN_EXE_impala"));

/// The events of each file in a run's directory, in the order in which TensorBoard reads the files.
fn event_files(run: &Path) -> Vec<Vec<Event>> {
    let mut paths: Vec<_> = fs::read_dir(run).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.file_name().unwrap().to_str().unwrap().contains("tfevents"));
    paths.sort();
    paths.iter().map(|path| events(&fs::read(path).unwrap())).collect()
}

fn events(mut file: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    while !file.is_empty() {
        let (length, rest) = sound(file, 8);
        let (record, rest) = sound(rest, u64::from_le_bytes(length.try_into().unwrap()) as usize);
        events.push(Event::decode(record).unwrap());
        file = rest;
    }
    events
}

/// The next bytes, which their checksum follows, and the rest.
fn sound(file: &[u8], length: usize) -> (&[u8], &[u8]) {
    let (bytes, rest) = file.split_at(length);
    let (checksum, rest) = rest.split_first_chunk().unwrap();
    let unmasked = u32::from_le_bytes(*checksum).wrapping_sub(0xa282_ead8).rotate_left(15);
    assert_eq!(unmasked, crc32c::crc32c(bytes));
    (bytes, rest)
}

/// Each series, with its steps.
fn series(events: &[Event]) -> BTreeMap<&str, Vec<i64>> {
    let mut series: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for event in events {
        let Some(What::Summary(Summary { values })) = &event.what else { continue };
        for value in values {
            series.entry(&value.tag).or_default().push(event.step);
        }
    }
    series
}

fn starts(events: &[Event]) -> Vec<i64> {
    let is_start = |what: &What| matches!(what, What::SessionLog(log) if log.status() == SessionStatus::Start);
    events.iter().filter(|event| event.what.as_ref().is_some_and(is_start)).map(|event| event.step).collect()
}

#[test]
fn a_solved_run_leaves_one_event_file_that_reads_to_its_end() {
    let run = Run::of(IMPALA);
    assert!(run.train(&[]).output().unwrap().status.success());
    let files = event_files(&run.directory());
    assert_eq!(files.len(), 1);
    assert_eq!(starts(&files[0]), [0]);
    let series = series(&files[0]);
    for tag in [
        "config",
        "_hparams_/experiment",
        "_hparams_/session_start_info",
        "_hparams_/session_end_info",
        "return/mean",
        "loss/policy",
        "policy/entropy_nats",
        "speed/frames_per_second",
        "lag/updates",
        "return/episodes",
        "parameters/torso.1.weight",
        "gradient/value.bias",
        "result/frames_to_solve",
        "result/verified_return",
    ] {
        assert!(series.contains_key(tag), "{tag} is missing in {:?}", series.keys());
    }
    // A row for each row of the table, at the same frames; and looks at the beginning and at the end at least.
    let csv = fs::read_to_string(run.directory().join("metrics.csv")).unwrap();
    let frames: Vec<i64> = csv.lines().skip(1).map(|row| row.split(',').nth(1).unwrap().parse().unwrap()).collect();
    assert_eq!(series["progress/updates"], frames);
    let looks = &series["parameters/policy.weight"];
    assert!(looks.len() >= 2 && looks.last() == frames.last(), "{looks:?}");
    for (tag, steps) in &series {
        assert!(steps.is_sorted(), "{tag} goes back: {steps:?}");
    }
    // A bias of 64 numbers, each of which is counted.
    let values = files[0].iter().filter_map(|event| match &event.what {
        Some(What::Summary(Summary { values })) => Some(values),
        _ => None,
    });
    let biases = values.flatten().filter(|value| value.tag == "gradient/torso.0.bias");
    for bias in biases {
        assert!(matches!(&bias.content, Some(Content::Histogram(histogram)) if histogram.num == 64.0), "{bias:?}");
    }
}

#[test]
fn a_resumed_run_goes_on_in_a_file_of_its_own_from_its_step() {
    let run = Run::of(IMPALA);
    let train = |frames: &str| {
        let budget = ["--solved-return", "501", "--frames-max", frames, "--run-dir"];
        run.train(&budget).arg(run.path().join("run")).output().unwrap()
    };
    train("8000");
    train("16000");
    let files = event_files(&run.path().join("run"));
    assert_eq!(files.iter().map(|events| starts(events)).collect::<Vec<_>>(), [[0], [8000]]);
    let [first, second] = [&files[0], &files[1]].map(|events| series(events));
    // The first row may come before or after the first update.
    assert!(first["progress/updates"].last() == Some(&8000) && second["progress/updates"][0] >= 8000, "{second:?}");
    assert_eq!(second["result/seconds"], [16_000]);
}

#[test]
fn a_run_that_is_told_so_writes_no_event_file() {
    let run = Run::of(IMPALA);
    run.train(&["--frames-max", "2000", "--tensorboard", "false"]).output().unwrap();
    assert!(run.directory().join("summary.json").exists());
    assert!(event_files(&run.directory()).is_empty());
}

#[test]
fn a_deterministic_run_ends_with_the_same_bits_whether_it_is_looked_at_or_not() {
    let model = |tensorboard: &str| {
        let run = Run::of(IMPALA);
        let arguments = ["--deterministic", "--frames-max", "24000", "--tensorboard", tensorboard];
        run.train(&arguments).output().unwrap();
        fs::read(run.directory().join("model.safetensors")).unwrap()
    };
    assert!(model("true") == model("false"));
}
