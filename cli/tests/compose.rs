//! `docker/compose.yaml` passes every setting of the learner on, and no name that is none.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use impala_learner::config::settings;
use std::collections::BTreeSet;
use std::path::Path;

/// What the image sets and the networks between the containers rely on; `docker/Dockerfile` and the ports of the service
/// have them.
const OF_THE_IMAGE: [&str; 3] = ["IMPALA_LISTEN", "IMPALA_METRICS_LISTEN", "IMPALA_RUNS_DIR"];
/// Flags of the program that are no settings of a run.
const OF_THE_PROGRAM: [&str; 3] = ["IMPALA_ACCEPT_SPEC", "IMPALA_RESUME", "RUST_LOG"];
/// What tells an actor how its environments are started.
const OF_THE_WORKERS: [&str; 1] = ["IMPALA_PYTHON"];

fn docker(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docker").join(name)).unwrap()
}

/// The variables that a text in YAML gives to the learner.
fn variables(compose: &str) -> BTreeSet<String> {
    let compose: serde_json::Value = serde_saphyr::from_str(compose).unwrap();
    let variables = compose["services"]["learner"]["environment"].as_object().unwrap();
    variables.keys().cloned().collect()
}

#[test]
fn compose_passes_every_setting_on() {
    let settings = settings::all().map(|setting| setting.variable).filter(|name| !OF_THE_IMAGE.contains(name));
    let expected: BTreeSet<String> = settings.chain(OF_THE_PROGRAM).map(str::to_owned).collect();
    assert_eq!(variables(&docker("compose.yaml")), expected);
}

#[test]
fn images_set_settings_only() {
    let dockerfile = docker("Dockerfile");
    let words = dockerfile.split_whitespace().filter(|word| word.starts_with("IMPALA_"));
    let names: BTreeSet<&str> = words.filter_map(|word| Some(word.split_once('=')?.0)).collect();
    assert!(OF_THE_IMAGE.iter().all(|name| names.contains(name)), "{names:?}");
    let known: BTreeSet<_> = settings::all().map(|setting| setting.variable).chain(OF_THE_WORKERS).collect();
    assert!(names.is_subset(&known), "no settings: {:?}", names.difference(&known));
}

/// Images are built from an allow-list: cargo must find every member of the workspace in it.
#[test]
fn images_are_built_from_every_member_of_the_workspace() {
    let manifest = docker("../Cargo.toml");
    let (_, members) = manifest.split_once("\nmembers = [").unwrap();
    let (members, _) = members.split_once(']').unwrap();
    let ignored = docker("../.dockerignore");
    let allowed: BTreeSet<&str> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let members: Vec<_> = members.split(',').map(|member| member.trim().trim_matches('"')).collect();
    assert!(members.contains(&"learner"), "{members:?}");
    for member in members {
        for part in ["Cargo.toml", "src", "build.rs"] {
            let path = format!("{member}/{part}");
            let exists = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(&path).exists();
            assert_eq!(allowed.contains(path.as_str()), exists, ".dockerignore and {path}");
        }
    }
}
