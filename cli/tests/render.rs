//! `impala render`: what is written for a policy, by whatever it is named, and what is refused before anything is played.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use impala_harness::processes::{Program, Run};
use impala_policy::activation::Activation;
use impala_policy::model_file::{self, ModelDescription};
use impala_policy::network::{NetworkSpec, PolicyHead};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

/// The program under test.
const IMPALA: Program = Program::at(env!("CARGO_BIN_EXE_impala"));

/// A model file of a policy that always takes the first action.
fn model(directory: &Path, environment: &str, observation_len: usize, action_count: usize) -> PathBuf {
    let network = NetworkSpec {
        observation_len,
        hidden: vec![],
        activation: Activation::Tanh,
        head: PolicyHead::single(action_count),
        normalises: false,
    };
    let environment = environment.parse().unwrap();
    let description = ModelDescription { environment, activation: Activation::Tanh, frames: 0, updates: 7 };
    let bytes = model_file::encode(&network, &vec![0.0; network.parameter_count()], &description).unwrap();
    let path = directory.join(format!("{}.safetensors", description.environment));
    fs::write(&path, bytes).unwrap();
    path
}

fn render(policy: &Path, arguments: &[&str]) -> Output {
    IMPALA.command(&["render"]).arg(policy).args(arguments).output().unwrap()
}

/// What it says where it refuses.
fn refusal(policy: &Path, arguments: &[&str]) -> String {
    let output = render(policy, arguments);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn every_format_is_written_and_told() {
    let directory = tempfile::tempdir().unwrap();
    let model = model(directory.path(), "catch", 50, 3);
    for (name, beginning) in [("e.gif", &b"GIF89a"[..]), ("e.png", b"\x89PNG\r\n"), ("e.html", b"<!doctype html>")] {
        let path = directory.path().join(name);
        let output = render(&model, &["--out", path.to_str().unwrap(), "--theme", "dark"]);
        assert!(output.status.success(), "{output:?}");
        let written = fs::read(&path).unwrap();
        assert!(written.starts_with(beginning), "{name}");
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(told.contains(name) && told.contains("catch: 9 steps, return "), "{told}");
    }
    let page = fs::read_to_string(directory.path().join("e.html")).unwrap();
    assert!(page.contains("catch.safetensors, update 7"), "the page names the policy");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 4, "nothing else is left");
}

#[test]
fn flags_choose_size_seed_pace_and_environment() {
    let directory = tempfile::tempdir().unwrap();
    let model = model(directory.path(), "cartpole-v1", 4, 2);
    let bytes = |arguments: &[&str]| {
        let path = directory.path().join("e.gif");
        let output = render(&model, &[&["--out", path.to_str().unwrap()], arguments].concat());
        assert!(output.status.success(), "{output:?}");
        (fs::read(path).unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let (first, told) = bytes(&["--size", "320"]);
    assert_eq!(u16::from_le_bytes([first[6], first[7]]), 320);
    assert!(told.contains("cartpole-v1: ") && told.ends_with("episode over\n"), "{told}");
    assert_eq!(bytes(&["--size", "320"]).0, first);
    for other in [["--seed", "2"], ["--frames-per-second", "10"], ["--theme", "dark"], ["--environment", "cartpole-v0"]]
    {
        assert_ne!(bytes(&[&["--size", "320"], &other[..]].concat()).0, first, "{other:?}");
    }
    assert_ne!(bytes(&["--size", "320", "--sampled"]).0, first);
    let (_, told) = bytes(&["--steps-max", "3"]);
    assert!(told.contains("3 steps, return 3, cut here"), "{told}");
}

#[test]
fn what_cannot_be_rendered_is_told_with_value_and_fix() {
    let directory = tempfile::tempdir().unwrap();
    let pole = model(directory.path(), "cartpole-v1", 4, 2);
    let gif = directory.path().join("e.gif");
    let gif = gif.to_str().unwrap();
    let error = refusal(&pole, &["--out", "episode.mp4"]);
    assert!(error.contains("episode.mp4") && error.contains(".gif or .png (animations) or .html"), "{error}");
    let error = refusal(&pole, &["--terminal"]);
    assert!(error.contains("standard output is none: use --out"), "{error}");
    let error = refusal(&pole, &["--out", "e.html", "--size", "640"]);
    assert!(error.contains("--size is for animations"), "{error}");
    let error = refusal(&pole, &["--out", gif, "--environment", "catch"]);
    assert!(error.contains("it is none for catch"), "{error}");
    let error = refusal(&pole, &["--out", gif, "--environment", "pong"]);
    assert!(error.contains("unknown environment `pong`"), "{error}");
    let error = refusal(Path::new("nowhere"), &["--out", gif]);
    assert!(error.contains("`nowhere` is no policy"), "{error}");
    assert!(!Path::new(gif).exists());
    let error = refusal(&pole, &["--out", "/proc/e.gif"]);
    assert!(error.contains("cannot write /proc/e.gif"), "{error}");
    // The command line itself.
    let neither = render(&pole, &[]);
    assert_eq!(neither.status.code(), Some(2));
    assert!(String::from_utf8(neither.stderr).unwrap().contains("--out <FILE>|--terminal"));
    assert_eq!(render(&pole, &["--terminal", "--out", gif]).status.code(), Some(2));
    for bad in [["--frames-per-second", "51"], ["--size", "100"], ["--steps-max", "0"], ["--theme", "sepia"]] {
        let output = render(&pole, &[&["--out", gif], &bad[..]].concat());
        assert_eq!(output.status.code(), Some(2), "{bad:?}");
    }
}

#[test]
fn a_run_keeps_pictures_of_its_progress_and_the_last_is_of_its_model() {
    let run = Run::of(IMPALA);
    let output = run.train(&["--render-every", "20000", "--frames-after-solved", "200000"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let directory = run.directory();
    let pictures = fs::read_dir(directory.join("renders")).unwrap().map(|entry| entry.unwrap().path());
    let mut pictures: Vec<_> = pictures.collect();
    pictures.sort();
    assert!(pictures.len() >= 2, "{pictures:?}");
    assert!(pictures.iter().all(|path| fs::read(path).unwrap().starts_with(b"GIF89a")));
    assert!(pictures.last().unwrap().ends_with("last.gif"), "{pictures:?}");
    // The same episode as the model's, drawn alike.
    let model = directory.join("model.safetensors");
    let path = directory.join("e.gif");
    let told = render(&model, &["--size", "320", "--out", path.to_str().unwrap(), "--seed", "1"]);
    assert!(told.status.success(), "{told:?}");
    assert!(fs::read(pictures.last().unwrap()).unwrap() == fs::read(&path).unwrap(), "the last is not the model's");
}
