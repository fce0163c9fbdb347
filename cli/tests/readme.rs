//! README.md names every setting and every metric, and no others.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

const README: &str = include_str!("../../README.md");

/// The first cell of every table row that holds one name in backquotes, in the section under a heading.
fn names_in(section: &str) -> BTreeSet<String> {
    let text = README.split(&format!("\n## {section}\n")).nth(1).unwrap().split("\n## ").next().unwrap();
    let name = |row: &str| Some(row.strip_prefix("| `")?.split_once('`')?.0.to_owned());
    text.lines().filter_map(name).collect()
}

#[test]
fn every_setting_stands_in_the_readme() {
    let settings = impala_learner::config::settings::all().map(|setting| setting.key.replace('_', "-"));
    assert_eq!(names_in("Configuration"), settings.collect());
}

#[test]
fn every_metric_stands_in_the_readme() {
    let actor = impala_actor::metrics::NAMES.iter().copied();
    let metrics = impala_learner::handover::metrics::names().chain(actor).map(str::to_owned);
    assert_eq!(names_in("Metrics"), metrics.collect());
}
