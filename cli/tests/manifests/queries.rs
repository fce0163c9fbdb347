//! Alerts and autoscaling ask for metrics and labels that the programs export. What they answer is checked on made-up series
//! by `scripts/check-manifests.sh`.

use crate::tree::{Tree, holds, list};
use anyhow::{Context, ensure};
use impala_learner::handover::ledger::Disposition;
use impala_learner::handover::run_state::RunState;
use serde_json::Value;
use std::collections::BTreeSet;

/// Metrics of others: Prometheus itself, and kube-state-metrics.
const FOREIGN: [&str; 2] = ["up", "kube_pod_container_status_restarts_total"];

/// Every query, with where it stands.
fn queries(tree: &Tree) -> anyhow::Result<Vec<(String, String)>> {
    let text = |value: &Value| value.as_str().map(str::to_owned).context("a query is a text");
    let mut queries = Vec::new();
    for object in tree.custom_resources()? {
        for rule in list(&object["spec"]["groups"]).iter().flat_map(|group| list(&group["rules"])) {
            queries.push((text(&rule["alert"])?, text(&rule["expr"])?));
        }
        for trigger in list(&object["spec"]["triggers"]) {
            queries.push((text(&trigger["name"])?, text(&trigger["metadata"]["query"])?));
        }
    }
    Ok(queries)
}

/// Every sentence for people, with where it stands.
fn annotations(tree: &Tree) -> anyhow::Result<Vec<String>> {
    let resources = tree.custom_resources()?;
    let rules =
        resources.iter().flat_map(|object| list(&object["spec"]["groups"])).flat_map(|group| list(&group["rules"]));
    let texts = rules.flat_map(|rule| [&rule["annotations"]["summary"], &rule["annotations"]["description"]]);
    texts.map(|text| text.as_str().map(str::to_owned).context("an alert lacks summary or description")).collect()
}

/// The metrics of a query: every name of ours, and every name before a selector in braces.
fn metrics(query: &str) -> BTreeSet<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let ours = query.split(|c| !is_part(c)).filter(|word| word.starts_with("impala_"));
    let selected = query.match_indices('{').filter_map(|(at, _)| query[..at].rsplit(|c| !is_part(c)).next());
    ours.chain(selected).collect()
}

/// The values that a query accepts of a label.
fn values<'a>(query: &'a str, label: &str) -> Vec<&'a str> {
    let after_each = query.split(label).skip(1);
    let quoted =
        after_each.filter_map(|rest| rest.trim_start_matches(['=', '~', '!']).strip_prefix('"')?.split('"').next());
    quoted.flat_map(|alternatives| alternatives.split('|')).collect()
}

fn queries_ask_for_what_is_exported(tree: &Tree) -> anyhow::Result<()> {
    let exported: BTreeSet<&str> =
        impala_learner::handover::metrics::names().chain(impala_actor::metrics::names()).chain(FOREIGN).collect();
    let dispositions: BTreeSet<&str> = Disposition::ALL.iter().map(|d| d.name()).chain(["lost"]).collect();
    let states = RunState::ALL.map(RunState::name);
    let queries = queries(tree)?;
    ensure!(queries.len() == 13, "{} queries: eleven alerts and two triggers are expected", queries.len());
    for (place, query) in &queries {
        let metrics = metrics(query);
        ensure!(!metrics.is_empty(), "{place} asks for nothing");
        let unknown: Vec<_> = metrics.difference(&exported).collect();
        ensure!(unknown.is_empty(), "{place} asks for {unknown:?}, which nothing exports");
        ensure!(
            query.matches("namespace=\"impala\"").count() == query.matches('{').count(),
            "{place} asks other namespaces too"
        );
        ensure!(values(query, "disposition").iter().all(|value| dispositions.contains(value)), "{place}: {query}");
        ensure!(values(query, "state").iter().all(|value| states.contains(value)), "{place}: {query}");
        ensure!(values(query, "result").iter().all(|value| ["written", "failed"].contains(value)), "{place}: {query}");
    }
    for sentence in annotations(tree)? {
        let named: BTreeSet<&str> = metrics(&sentence).into_iter().filter(|name| !name.is_empty()).collect();
        ensure!(named.is_subset(&exported), "a metric that nothing exports: {sentence}");
    }
    let is_about = |place: &str, metric: &str| {
        queries.iter().any(|(name, query)| name == place && metrics(query).contains(metric))
    };
    for metric in ["impala_learner_busy_seconds", "impala_learner_waiting_seconds"] {
        ensure!(is_about("starvation", metric), "starvation is the share of waiting in waiting and work");
    }
    for metric in ["impala_learner_actors_enough", "impala_learner_actors_connected"] {
        ensure!(is_about("starvation", metric), "actors that are enough are not multiplied");
    }
    Ok(())
}

#[test]
fn alerts_and_autoscaling_use_exported_metrics() {
    let alerts = "components/monitoring/alerts.yml";
    let scaler = "components/autoscale/scaledobject.yml";
    holds(
        queries_ask_for_what_is_exported,
        &[
            (alerts, "impala_learner_updates_total", "impala_learner_steps_total"),
            (alerts, "impala_actor_reconnects_total and", "impala_actor_reconnect_total and"),
            (alerts, "impala_actor_reconnects_total{", "impala_actor_reconnect_total{"),
            (alerts, "            description: Nothing is trained.", "            runbook: Nothing is trained."),
            (alerts, "disposition=\"lost\"", "disposition=\"dropped\""),
            (alerts, "state=~\"waiting|training\"", "state=~\"waiting|running\""),
            (alerts, "result=\"failed\"", "result=\"lost\""),
            (alerts, "{namespace=\"impala\"}", "{}"),
            (alerts, "kube_pod_container_status_restarts_total", "kube_pod_restarts"),
            (scaler, "impala_learner_busy_seconds", "impala_learner_busy_ratio"),
            (scaler, "max(impala_learner_actors_enough", "max(impala_learner_mean_return"),
            (scaler, "state=\"waiting\"", "state=\"idle\""),
        ],
    );
}
