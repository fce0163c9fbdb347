//! The Prometheus endpoints of a learner and an actor at work give every documented metric, with its help and with the labels
//! that the manual lists.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use impala_harness::processes::{ENDLESS, Program, Run, address, asked, get, signal, start, wait_for_end};

use impala_common::metric::{Label, Metric, Values};
use impala_common::process::probes::PROCESS_TABLE;
use impala_learner::handover::metrics::{GPU_TABLE, TABLE};

/// The program under test.
const IMPALA: Program = Program::at(env!("CARGO_BIN_EXE_impala"));

#[test]
fn learner_and_actor_serve_every_metric_with_help() {
    let run = Run::of(IMPALA);
    let mut command = IMPALA.command(&["learner", "--log-format", "json", "--listen", "127.0.0.1:0", "--runs-dir"]);
    let (mut learner, learner_log) = start(command.arg(run.path()).args(ENDLESS));
    let learner_metrics = address(&learner_log, "http://", "/metrics");
    let learner_address = address(&learner_log, "\"address\":\"", "\"");
    let (mut actor, actor_log) = start(&mut IMPALA.command(&["actor", "--learner", &learner_address]));
    let actor_metrics = address(&actor_log, "http://", "/metrics");

    for (address, table) in [(&learner_metrics, TABLE), (&actor_metrics, impala_actor::metrics::TABLE)] {
        // Some appear with the first episode or the first report; what was there once stays.
        for Metric { name, .. } in table {
            asked(name, || is_complete(&get(address, "/metrics").1, name).then_some(()));
        }
        let answer = get(address, "/metrics").1;
        // Those of GPUs are there where there are GPUs.
        let documented: Vec<_> = table.iter().chain(PROCESS_TABLE).chain(GPU_TABLE).copied().collect();
        assert_eq!(undocumented(&answer, &documented), Vec::<&str>::new());
        if cfg!(target_os = "linux") {
            let missing = PROCESS_TABLE.iter().find(|metric| !is_complete(&answer, metric.name));
            assert_eq!(missing, None, "{answer}");
        }
    }
    signal(learner.id(), "INT");
    wait_for_end(&mut learner);
    assert!(wait_for_end(&mut actor).success());
}

/// Whether a metric has its help and at least one sample.
fn is_complete(answer: &str, name: &str) -> bool {
    let has_help = answer.contains(&format!("# HELP {name} "));
    let is_sample = |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{', '_']));
    has_help && answer.lines().any(is_sample)
}

/// The samples whose metric or label the table does not have.
fn undocumented<'a>(answer: &'a str, table: &[Metric]) -> Vec<&'a str> {
    answer.lines().filter(|line| !line.is_empty() && !line.starts_with('#') && !is_documented(line, table)).collect()
}

fn is_documented(sample: &str, table: &[Metric]) -> bool {
    let (series, _) = sample.rsplit_once(' ').unwrap();
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let own_name = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name);
    let labels = labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty() && !label.starts_with("le="));
    table.iter().filter(|metric| [name, own_name].contains(&metric.name)).any(|metric| {
        let has = |label: &str| {
            let Some(Label { name, values }) = metric.label else { return false };
            match values {
                Values::These(values) => values.iter().any(|(value, _)| label == format!("{name}=\"{value}\"")),
                Values::Any(_) => label.starts_with(&format!("{name}=\"")),
            }
        };
        labels.clone().all(has)
    })
}
