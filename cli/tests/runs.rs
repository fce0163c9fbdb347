//! Runs are looked at while they train and afterwards: evaluated beside the training, listed, compared, watched.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use impala_harness::processes::{Program, Run, address, get, start};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Output, Stdio};

/// The program under test.
const IMPALA: Program = Program::at(env!("CARGO_BIN_EXE_impala"));

fn runs(arguments: &[&str]) -> Output {
    IMPALA.command(&["runs"]).args(arguments).output().unwrap()
}

#[test]
fn the_newest_policy_is_evaluated_beside_the_training() {
    let run = Run::of(IMPALA);
    let arguments = ["--eval-interval", "0.01", "--eval-episodes", "10", "--frames-after-solved", "400000"];
    let output = run.train(&arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("\nevaluations   ") && text.contains(" beside the training, the last at "), "{text}");
    let directory = run.directory();
    let summary: Value = serde_json::from_slice(&fs::read(directory.join("summary.json")).unwrap()).unwrap();
    let evaluations = &summary["evaluations"];
    assert!(evaluations["count"].as_u64() >= Some(1), "{evaluations}");
    assert_eq!(evaluations["last"]["score"]["episodes"], 10);
    assert!(evaluations["last"]["frames"].as_u64() <= summary["frames"].as_u64(), "{evaluations}");
    let mut csv = csv::Reader::from_path(directory.join("metrics.csv")).unwrap();
    let columns = csv.headers().unwrap().clone();
    let place = columns.iter().position(|name| name == "evaluation_mean_return").unwrap();
    assert!(csv.records().any(|row| row.unwrap()[place].parse::<f64>().is_ok()));
    let svg = fs::read_to_string(directory.join("learning_curve.svg")).unwrap();
    assert!(svg.contains("evaluated beside it") && svg.contains("<circle"), "{svg}");
}

#[test]
fn runs_are_listed_and_compared() {
    let run = Run::of(IMPALA);
    for seed in ["1", "2"] {
        assert!(run.train(&["--seed", seed]).output().unwrap().status.success());
    }
    let place = run.path();
    let text = runs(&[place.to_str().unwrap()]).stdout;
    let text = String::from_utf8_lossy(&text).into_owned();
    assert_eq!((text.lines().count(), text.matches("  solved  ").count()), (3, 2), "{text}");
    let listed = runs(&[place.to_str().unwrap(), "--json"]).stdout;
    let listed: Value = serde_json::from_slice(&listed).unwrap();
    let seeds: Vec<_> = listed.as_array().unwrap().iter().map(|run| run["seed"].as_u64().unwrap()).collect();
    assert_eq!(seeds, [1, 2], "{listed}");
    assert!(listed[0]["evaluated_return"].as_f64() >= Some(475.0), "{listed}");

    let paths: Vec<_> = listed.as_array().unwrap().iter().map(|run| run["path"].as_str().unwrap()).collect();
    let svg = place.join("curves.svg");
    let compare = |more: &[&str]| runs(&[&["compare"], &paths[..], &["--svg", svg.to_str().unwrap()], more].concat());
    for (more, axis) in [(&[][..], "environment frames trained"), (&["--over", "seconds"], "seconds of training")] {
        let output = compare(more);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let drawn = fs::read_to_string(&svg).unwrap();
        for part in [axis, "-seed1", "-seed2", "solved: 475", "cartpole-v1"] {
            assert!(drawn.contains(part), "`{part}` is missing in:\n{drawn}");
        }
    }
}

#[test]
fn runs_are_shown_in_a_browser_and_found_by_their_names_alone() {
    let run = Run::of(IMPALA);
    assert!(run.train(&[]).output().unwrap().status.success());
    let place = run.path();
    let (_viewing, log) = start(&mut IMPALA.command(&["view", place.to_str().unwrap()]));
    let address = address(&log, "http://", "/ ");
    let listed: Value = serde_json::from_str(&get(&address, "/api/runs").1).unwrap();
    let name = listed[0]["name"].as_str().unwrap();
    assert_eq!(
        (name, &listed[0]["result"]["detail"]),
        (run.directory().file_name().unwrap().to_str().unwrap(), &"solved".into())
    );
    let shown: Value = serde_json::from_str(&get(&address, &format!("/api/runs/{name}")).1).unwrap();
    let [frames, means] = ["frames", "mean_return"].map(|curve| shown[curve].as_array().unwrap());
    assert!(frames.len() == means.len() && frames.last().unwrap().as_f64() > Some(0.0), "{shown}");
    assert!(shown["summary"].as_str().unwrap().contains("result        solved"), "{shown}");
    for other in ["..", "%2e%2e", "..%2f", "nothing"] {
        assert!(get(&address, &format!("/api/runs/{other}")).0.starts_with("HTTP/1.1 404"), "{other}");
    }
}

#[test]
fn what_is_no_run_is_told() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().to_str().unwrap();
    let error = |arguments: &[&str]| {
        let output = runs(arguments);
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert_eq!(runs(&[path]).stdout, format!("no runs in {path}\n").into_bytes());
    assert!(error(&["/no/such/place"]).contains("cannot read /no/such/place; name the directory that holds the runs"));
    assert!(error(&["compare", path]).contains(&format!("{path} is no directory of a run")));
}

#[test]
fn a_learner_is_watched_also_while_it_is_gone() {
    let mut watching = IMPALA
        .command(&["status", "--watch", "--json", "--interval", "0.1", "--learner", "127.0.0.1:1"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        let answer: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert!(answer["error"].as_str().unwrap().contains("cannot connect"), "{answer}");
    }
    // Nobody reads on: it ends by itself.
    drop(lines);
    assert!(watching.wait().unwrap().success());
}
