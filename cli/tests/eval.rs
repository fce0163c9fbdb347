//! `impala eval` and `--initial-model`: what a run left is found by each of its names, played, and begun with.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use impala_harness::processes::{Program, Run};
use serde_json::Value;
use std::fs;
use std::process::Output;

/// The program under test.
const IMPALA: Program = Program::at(env!("CARGO_BIN_EXE_impala"));

fn eval(arguments: &[&str]) -> Output {
    IMPALA.command(&["eval"]).args(arguments).output().unwrap()
}

fn json(arguments: &[&str]) -> Value {
    let output = eval(&[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{}", error(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A run that has solved its task, and the text of a path in it.
fn solved() -> (Run, impl Fn(&str) -> String) {
    let run = Run::of(IMPALA);
    assert!(run.train(&[]).output().unwrap().status.success());
    let directory = run.directory();
    (run, move |name: &str| format!("{}{name}", directory.display()))
}

#[test]
fn a_policy_is_evaluated_by_each_of_its_names() {
    let (_run, path) = solved();
    let of_run = json(&[&path("")]);
    assert!(of_run["mean_return"].as_f64() >= Some(475.0), "{of_run}");
    assert_eq!((&of_run["mode"], &of_run["episodes"]), (&"greedy".into(), &100.into()));
    assert_eq!(json(&[&path("/model.safetensors")]), of_run);
    // The verified policy's checkpoint has the same parameters.
    let best = json(&[&path("#best")]);
    assert_eq!((&best["mean_return"], &best["updates"]), (&of_run["mean_return"], &of_run["updates"]));
    let file = json(&[&path("/checkpoints/best.safetensors")]);
    assert_eq!(file["mean_return"], of_run["mean_return"]);
    let last = json(&[&path("#last"), "--episodes", "7", "--sampled", "--seed", "3"]);
    assert!(last["updates"].as_u64() >= of_run["updates"].as_u64(), "{last}");
    assert_eq!((&last["mode"], &last["episodes"]), (&"sampled".into(), &7.into()));
    let url = json(&[&format!("file://{}", path("/checkpoints"))]);
    assert_eq!(url["updates"], last["updates"]);
}

#[test]
fn a_table_a_requirement_and_a_limit_of_steps_do_what_they_say() {
    let (_run, path) = solved();
    let csv = path("/episodes.csv");
    let arguments = [&path("/model.safetensors"), "--episodes", "120", "--steps-max", "50", "--csv", &csv];
    let output = eval(&[&arguments[..], &["--require-return", "51"]].concat());
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("120 cut after 50 steps") && text.contains("required      51: NOT reached"), "{text}");
    let table = fs::read_to_string(&csv).unwrap();
    let lines: Vec<_> = table.lines().collect();
    assert_eq!((lines[0], lines[120], lines.len()), ("episode,return,length,end", "120,50.0,50,cut", 121));
    let enough = eval(&[&arguments[..], &["--require-return", "50"]].concat());
    assert_eq!(enough.status.code(), Some(0), "{}", error(&enough));
    let other = json(&[&path(""), "--environment", "cartpole-v0"]);
    assert_eq!((&other["max_return"], &other["environment"]), (&200.0.into(), &"cartpole-v0".into()));
}

#[test]
fn what_cannot_be_evaluated_is_told_with_value_and_fix() {
    let (_run, path) = solved();
    let refused = |arguments: &[&str]| {
        let output = eval(arguments);
        assert_eq!(output.status.code(), Some(1), "{}", error(&output));
        error(&output)
    };
    assert!(refused(&["no/such/run"]).contains("`no/such/run` is no policy: name the directory of a run"));
    assert!(refused(&[&path("/config.toml")]).contains("config.toml: it is damaged or no safetensors file"));
    assert!(refused(&[&path(""), "--environment", "catch"]).contains("it is none for catch"));
    assert!(refused(&[&path(""), "--environment", "pong"]).contains("unknown environment `pong`: use one of"));
    let to_nowhere = refused(&[&path(""), "--csv", "/no/such/directory/episodes.csv"]);
    assert!(to_nowhere.contains("cannot write /no/such/directory/episodes.csv"), "{to_nowhere}");
    let model = path("/model.safetensors");
    let bytes = fs::read(&model).unwrap();
    fs::write(&model, &bytes[..bytes.len() / 2]).unwrap();
    assert!(refused(&[&path("")]).contains("model.safetensors: it is damaged or no safetensors file"));
    assert!(refused(&["http://127.0.0.1:1"]).contains("no model from the learner at http://127.0.0.1:1"));
}

#[test]
fn the_newest_policy_of_a_learner_at_work_is_evaluated() {
    let run = Run::of(IMPALA);
    let _training = run.endless();
    run.wait_for_training();
    let log = fs::read_to_string(run.directory().join("learner.log")).unwrap();
    let address = log.split_once("address=").unwrap().1.split_whitespace().next().unwrap();
    let told = json(&[address, "--episodes", "10"]);
    assert!(told["updates"].as_u64() >= Some(1), "{told}");
    assert_eq!(told["environment"], "cartpole-v1");
}

#[test]
fn a_run_begins_with_the_parameters_of_another() {
    let (_run, path) = solved();
    let model = path("/model.safetensors");
    // No learning: what it leaves is what it began with.
    let still = ["--frames-max", "400", "--learning-rate", "1e-30", "--verify-every", "1000000"];
    let run = Run::of(IMPALA);
    let output = run.train(&[&["--initial-model", &model], &still[..]].concat()).output().unwrap();
    let directory = run.directory();
    let log = fs::read_to_string(directory.join("learner.log")).unwrap_or_else(|_| error(&output));
    assert!(log.contains("beginning with the parameters of"), "{log}");
    let load = |path: &str| impala_policy::model_file::load(path.as_ref()).unwrap().parameters;
    assert_eq!(load(directory.join("model.safetensors").to_str().unwrap()), load(&model));
    let config = fs::read_to_string(directory.join("config.toml")).unwrap();
    assert!(config.contains(&format!("\ninitial_model = \"{}\"\n", fs::canonicalize(&model).unwrap().display())));

    // The run that is there goes on with its own, also where the policy is gone.
    fs::remove_file(&model).unwrap();
    let run_dir = directory.to_str().unwrap();
    let again = IMPALA.command(&["train", "--run-dir", run_dir, "--initial-model", &model]).output().unwrap();
    assert!(!error(&again).contains("initial_model"), "{}", error(&again));
}

#[test]
fn a_run_does_not_begin_with_a_policy_of_another_task_or_network() {
    let (_run, path) = solved();
    let refused = |policy: &str, arguments: &[&str]| {
        let run = Run::of(IMPALA);
        let output = run.train(&[&["--initial-model", policy], arguments].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", error(&output));
        assert!(!run.path().exists(), "it left something");
        error(&output)
    };
    let other = refused(&path(""), &["--hidden", "32"]);
    assert!(
        other.contains("is cartpole-v1 with 4 inputs, hidden [64, 64], tanh, 2 actions, and this run trains"),
        "{other}"
    );
    assert!(other.contains("hidden [32], tanh"), "{other}");
    assert!(refused(&path(""), &["--environment", "catch"]).contains("this run trains catch with 50 inputs"));
    assert!(refused("nowhere", &[]).contains("initial_model: `nowhere` is no policy"));
}
