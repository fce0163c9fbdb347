//! The floors of the house: which crate may import which, and inside the learner which folder. Read from the sources, so that
//! an arrow that points upwards is seen when it is drawn.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The crates and what each may name, besides itself.
const CRATES: &[(&str, &[&str])] = &[
    ("env", &[]),
    ("worker", &["env"]),
    ("policy", &["env"]),
    ("render", &["env", "policy"]),
    ("web", &["env", "render"]),
    ("store", &[]),
    ("common", &["env", "worker", "policy"]),
    ("actor", &["env", "worker", "policy", "common"]),
    ("learner", &["env", "policy", "render", "web", "store", "common"]),
    ("cli", &["env", "worker", "policy", "render", "web", "store", "common", "actor", "learner"]),
    ("benches", &["env", "worker", "policy", "render", "web", "store", "common", "actor", "learner"]),
    ("harness", &["env", "worker", "policy", "store", "common", "actor", "learner"]),
];

/// What the crates for people with environments and policies of their own must not bring along, however indirectly: no network,
/// no runtime, no tensors.
const SLIM: &[&str] = &["env", "worker", "policy", "render"];
const HEAVY: &[&str] = &["tokio", "tonic", "burn", "rayon", "clap"];

/// The floors of the learner, the lowest last: a folder may import what stands on a lower floor, and itself.
const LEARNER_FLOORS: &[&[&str]] =
    &[&["app"], &["stages", "service", "report"], &["run", "fit"], &["config", "handover"], &["learn"]];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every source file below `directory`, with its text.
fn sources(directory: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found
}

/// The words that follow `prefix` in the code, comments left out.
fn named_after<'a>(text: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let parts = code.flat_map(move |line| line.split(prefix).skip(1));
    parts.map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default())
}

#[test]
fn crates_import_only_what_lies_below_them() {
    for (name, allowed) in CRATES {
        let manifest = std::fs::read_to_string(workspace().join(name).join("Cargo.toml")).unwrap();
        // Tests may name more, the harness above all.
        let dependencies = manifest.split("[dev-dependencies]").next().unwrap();
        for (other, _) in CRATES.iter().filter(|(other, _)| other != name && !allowed.contains(other)) {
            assert!(!dependencies.contains(&format!("\nimpala-{other}")), "{name}/Cargo.toml depends on {other}");
            for (path, text) in sources(&workspace().join(name).join("src")) {
                let names_it = text.contains(&format!("impala_{other}::"));
                assert!(!names_it, "{} names {other}", path.display());
            }
        }
    }
}

#[test]
fn environments_policies_and_pictures_need_no_runtime_no_network_and_no_tensors() {
    for name in SLIM {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
        let tree =
            ["tree", "--offline", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--package"];
        let output =
            Command::new(cargo).args(tree).arg(format!("impala-{name}")).current_dir(workspace()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let tree = String::from_utf8(output.stdout).unwrap();
        let packages: Vec<_> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
        assert!(packages.contains(&"serde"), "the tree of {name} is not read: {tree}");
        let brought: Vec<_> = packages.into_iter().filter(|package| HEAVY.contains(package)).collect();
        assert!(brought.is_empty(), "{name} brings along {brought:?}");
    }
}

#[test]
fn folders_of_the_learner_import_only_lower_floors() {
    let floors = LEARNER_FLOORS.iter().enumerate();
    let floor_of: BTreeMap<_, _> =
        floors.flat_map(|(floor, names)| names.iter().map(move |name| (*name, floor))).collect();
    let root = workspace().join("learner/src");
    let (mut arrows, mut wrong) = (0, Vec::new());
    for (path, text) in sources(&root) {
        let inside = path.strip_prefix(&root).unwrap().with_extension("");
        let folder = inside.components().next().unwrap().as_os_str().to_str().unwrap();
        let Some(floor) = floor_of.get(folder) else {
            assert!(["lib", "main", "cli"].contains(&folder), "learner/src/{folder} has no floor");
            continue;
        };
        for named in named_after(&text, "crate::").filter(|named| *named != folder) {
            arrows += 1;
            if floor_of.get(named).is_none_or(|other| other <= floor) {
                wrong.push(format!("{} names {named}", inside.display()));
            }
        }
    }
    assert!(arrows > 50, "only {arrows} imports were found: the test reads the wrong files");
    assert!(wrong.is_empty(), "imports that do not point downwards:\n{}", wrong.join("\n"));
}
