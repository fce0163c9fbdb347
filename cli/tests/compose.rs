//! `docker/compose.yaml` passes every setting of the learner on, and no name that is none.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use impala_learner::config::settings;
use std::collections::BTreeSet;
use std::path::Path;

/// What the image sets and the networks between the containers rely on; `docker/Dockerfile` and the ports of the service
/// have them.
const OF_THE_IMAGE: [&str; 3] = ["IMPALA_LISTEN", "IMPALA_METRICS_LISTEN", "IMPALA_RUNS_DIR"];
/// Flags of the program that are no settings of a run.
const OF_THE_PROGRAM: [&str; 2] = ["IMPALA_RESUME", "RUST_LOG"];

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
    let known: BTreeSet<_> = settings::all().map(|setting| setting.variable).collect();
    assert!(names.is_subset(&known), "no settings: {:?}", names.difference(&known));
}
