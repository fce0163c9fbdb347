//! Grafana's dashboard asks for what the programs export, its panels have a place and say what they show, and compose and Kubernetes have
//! the same one. That Grafana's types accept it, and that the queries answer, is checked by `scripts/check-monitoring.sh`.

use crate::tree::{Tree, holds, list, named, strings};
use anyhow::{Context, ensure};
use impala_common::metric::{Kind, Metric, Values};
use impala_common::process::probes::PROCESS_TABLE;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const DASHBOARD: &str = "components/monitoring/dashboard.json";
/// Columns of Grafana's grid.
const COLUMNS: u64 = 24;
/// Labels that Prometheus adds when it scrapes.
const OF_PROMETHEUS: [&str; 3] = ["namespace", "instance", "job"];

fn dashboard(tree: &Tree) -> anyhow::Result<Value> {
    serde_json::from_str(tree.text(DASHBOARD)?).with_context(|| format!("{DASHBOARD} cannot be read"))
}

fn is_row(panel: &Value) -> bool {
    panel["type"] == "row"
}

/// Every panel, those in collapsed rows too, and the rows.
fn panels(dashboard: &Value) -> Vec<&Value> {
    list(&dashboard["panels"]).iter().flat_map(|panel| std::iter::once(panel).chain(list(&panel["panels"]))).collect()
}

fn text<'a>(value: &'a Value, key: &str) -> anyhow::Result<&'a str> {
    let text = value[key].as_str().filter(|text| !text.is_empty());
    text.with_context(|| format!("{} has no {key}", value["title"]))
}

/// Every series that the programs export, with its metric.
fn series() -> BTreeMap<String, &'static Metric> {
    use impala_learner::handover::metrics::{GPU_TABLE, TABLE};
    let mut series = BTreeMap::new();
    for metric in TABLE.iter().chain(GPU_TABLE).chain(impala_actor::metrics::TABLE).chain(PROCESS_TABLE) {
        let parts: &[&str] = if metric.kind == Kind::Histogram { &["_bucket", "_sum", "_count"] } else { &[""] };
        series.extend(parts.iter().map(|part| (format!("{}{part}", metric.name), metric)));
    }
    series
}

/// The parts of a text between two marks.
fn between<'a>(text: &'a str, (open, close): (&'a str, &'a str)) -> impl Iterator<Item = &'a str> {
    text.split(open).skip(1).filter_map(move |rest| rest.split(close).next())
}

/// The selectors of a query: the series and what is asked of its labels.
fn selectors(query: &str) -> Vec<(&str, &str)> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let name = |at: usize| query[..at].rsplit(|c| !is_part(c)).next().unwrap_or_default();
    query.match_indices('{').map(|(at, _)| name(at)).zip(between(query, ("{", "}"))).collect()
}

/// One condition of a selector is one that the series can meet.
fn can_be_met(condition: &str, metric: &Metric) -> anyhow::Result<()> {
    let (name, rest) = condition.split_once(['=', '!']).with_context(|| format!("{condition} is no condition"))?;
    if OF_PROMETHEUS.contains(&name.trim()) {
        return Ok(());
    }
    let label = metric.label.filter(|label| label.name == name.trim());
    let label = label.with_context(|| format!("{} has no label {name}", metric.name))?;
    let value = rest.trim_start_matches(['=', '~']).trim_matches('"');
    let is_known = match label.values {
        Values::These(values) => value.split('|').all(|value| values.iter().any(|(known, _)| *known == value)),
        Values::Any(_) => true,
    };
    ensure!(is_known, "{} is never {value}", label.name);
    Ok(())
}

/// A query asks for series that exist, by labels that they have, and its legend names labels that it keeps.
fn asks_for_what_is_exported(target: &Value, series: &BTreeMap<String, &Metric>) -> anyhow::Result<()> {
    let query = text(target, "expr")?;
    let selectors = selectors(query);
    ensure!(!selectors.is_empty(), "it asks for nothing");
    let mut labels = BTreeSet::new();
    for (name, conditions) in selectors {
        let metric = series.get(name).with_context(|| format!("nothing exports {name:?}"))?;
        labels.extend(metric.label.map(|label| label.name));
        labels.extend(name.ends_with("_bucket").then_some("le"));
        conditions.split(',').try_for_each(|condition| can_be_met(condition, metric))?;
        ensure!(conditions.contains("namespace=~\"$namespace\""), "it asks for {name} of every run");
    }
    let kept: BTreeSet<&str> = between(query, (" by (", ")")).collect();
    ensure!(kept.is_subset(&labels), "it keeps {kept:?} of {labels:?}");
    let shown: BTreeSet<&str> = between(text(target, "legendFormat")?, ("{{", "}}")).collect();
    ensure!(shown.is_subset(&kept), "its legend shows {shown:?} and it keeps {kept:?}");
    Ok(())
}

fn queries_ask_for_what_is_exported(tree: &Tree) -> anyhow::Result<()> {
    let (dashboard, series) = (dashboard(tree)?, series());
    for panel in panels(&dashboard).into_iter().filter(|panel| !is_row(panel)) {
        let targets = list(&panel["targets"]);
        ensure!(!targets.is_empty(), "{} asks for nothing", panel["title"]);
        for target in targets {
            asks_for_what_is_exported(target, &series)
                .with_context(|| format!("query {} of {}", target["refId"], panel["title"]))?;
        }
        let letters: BTreeSet<_> = targets.iter().filter_map(|target| target["refId"].as_str()).collect();
        ensure!(letters.len() == targets.len(), "two queries of {} have one letter", panel["title"]);
    }
    for variable in list(&dashboard["templating"]["list"]).iter().filter(|variable| variable["type"] == "query") {
        let query = variable["query"]["query"].as_str().context("a variable without a query")?;
        let name = between(query, ("label_values(", ",")).next().context("a variable asks for values of a label")?;
        let name = name.split('{').next().unwrap_or_default();
        ensure!(series.contains_key(name), "the variable {} asks for {name}", variable["name"]);
    }
    Ok(())
}

#[test]
fn the_dashboard_uses_exported_metrics_and_their_labels() {
    holds(
        queries_ask_for_what_is_exported,
        &[
            (DASHBOARD, "sum(rate(impala_learner_frames_total{", "sum(rate(impala_learner_frame_total{"),
            (DASHBOARD, "process_open_fds{", "process_open_files{"),
            (DASHBOARD, "impala_learner_policy_lag_updates_bucket{", "impala_learner_policy_lag_updates{"),
            (DASHBOARD, "impala_learner_gpu_power_watts{", "impala_learner_gpu_power{"),
            (DASHBOARD, "max by (term) (", "max by (kind) ("),
            (DASHBOARD, "\"{{term}}\"", "\"{{kind}}\""),
            (DASHBOARD, "sum by (interface) (", "sum by (device) ("),
            (DASHBOARD, "disposition!=\\\"trained\\\"", "disposition!=\\\"used\\\""),
            (DASHBOARD, "disposition!=\\\"trained\\\"", "result!=\\\"trained\\\""),
            (DASHBOARD, "impala_learner_entropy_nats{namespace=~\\\"$namespace\\\", ", "impala_learner_entropy_nats{"),
            (DASHBOARD, "\"refId\": \"B\"", "\"refId\": \"A\""),
            (DASHBOARD, "label_values(impala_learner_run_state,", "label_values(impala_learner_state,"),
        ],
    );
}

/// Left, top, right and lower edge in the grid.
fn edges(panel: &Value) -> anyhow::Result<[u64; 4]> {
    let edge = |key: &str| panel["gridPos"][key].as_u64().with_context(|| format!("{} has no {key}", panel["title"]));
    let (x, y, w, h) = (edge("x")?, edge("y")?, edge("w")?, edge("h")?);
    ensure!(w > 0 && h > 0 && x + w <= COLUMNS, "{} leaves the grid", panel["title"]);
    Ok([x, y, x + w, y + h])
}

fn panels_have_a_place_and_words(tree: &Tree) -> anyhow::Result<()> {
    let dashboard = dashboard(tree)?;
    let panels = panels(&dashboard);
    let ids: BTreeSet<_> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
    ensure!(ids.len() == panels.len(), "{} panels have {} ids", panels.len(), ids.len());
    let mut places: Vec<(&Value, [u64; 4])> = Vec::new();
    for panel in panels {
        let place @ [left, top, right, bottom] = edges(panel)?;
        let over = |other: &[u64; 4]| left < other[2] && other[0] < right && top < other[3] && other[1] < bottom;
        if let Some((other, _)) = places.iter().find(|(_, other)| over(other)) {
            anyhow::bail!("{} lies over {}", panel["title"], other["title"]);
        }
        places.push((panel, place));
        text(panel, "title")?;
        if is_row(panel) {
            continue;
        }
        text(panel, "description")?;
        ensure!(panel["datasource"]["uid"] == "${DS_PROMETHEUS}", "{} asks another source", panel["title"]);
        let has_unit = panel["fieldConfig"]["defaults"]["unit"].is_string();
        ensure!(has_unit || panel["type"] != "timeseries", "{} has no unit", panel["title"]);
        let of_its_own = list(&panel["targets"]).iter().find(|target| !target["datasource"].is_null());
        ensure!(of_its_own.is_none(), "a query of {} has a source of its own", panel["title"]);
    }
    let variables = &dashboard["templating"]["list"];
    ensure!(named(variables, "DS_PROMETHEUS")?["type"] == "datasource", "the source cannot be chosen");
    Ok(())
}

#[test]
fn every_panel_of_the_dashboard_has_a_place_and_says_what_it_shows() {
    holds(
        panels_have_a_place_and_words,
        &[
            (DASHBOARD, "\"id\": 2,", "\"id\": 1,"),
            (
                DASHBOARD,
                "\"gridPos\": {\"x\": 12, \"y\": 5, \"w\": 12,",
                "\"gridPos\": {\"x\": 11, \"y\": 5, \"w\": 12,",
            ),
            (DASHBOARD, "\"gridPos\": {\"x\": 20, \"y\": 0, \"w\": 4,", "\"gridPos\": {\"x\": 20, \"y\": 0, \"w\": 5,"),
            (DASHBOARD, "\"description\": \"Of the last 100 episodes that count.\"", "\"description\": \"\""),
            (DASHBOARD, "\"unit\": \"percentunit\",", ""),
            (
                DASHBOARD,
                "\"h\": 4},\n      \"datasource\": {\"type\": \"prometheus\", \"uid\": \"${DS_PROMETHEUS}\"}",
                "\"h\": 4},\n      \"datasource\": {\"type\": \"prometheus\", \"uid\": \"prometheus\"}",
            ),
            (DASHBOARD, "\"type\": \"datasource\"", "\"type\": \"constant\""),
        ],
    );
}

const COMPOSE: &str = "docker/compose.yaml";
const SOURCES: &str = "docker/grafana/provisioning/datasources/prometheus.yml";
const PROVIDERS: &str = "docker/grafana/provisioning/dashboards/impala.yml";

/// Compose mounts the file of the component into the directory that Grafana reads, and the component makes a ConfigMap of it.
fn one_dashboard_for_all(tree: &Tree) -> anyhow::Result<()> {
    let compose = tree.documents(COMPOSE)?.remove(0);
    let grafana = &compose["services"]["grafana"];
    let mounts = strings(&grafana["volumes"]);
    let inside = mounts.iter().find_map(|mount| mount.strip_prefix("../k8s/components/monitoring/dashboard.json:"));
    let inside = inside.and_then(|mount| mount.strip_suffix(":ro")).context("compose mounts another dashboard")?;
    let provider = tree.documents(PROVIDERS)?.remove(0)["providers"][0].clone();
    let directory = text(&provider["options"], "path")?;
    ensure!(inside.rsplit_once('/').is_some_and(|(parent, _)| parent == directory), "{inside} is not in {directory}");
    ensure!(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == inside, "another page comes first");
    ensure!(mounts.contains(&"./grafana/provisioning:/etc/grafana/provisioning:ro".to_owned()), "{mounts:?}");
    ensure!(grafana["profiles"] == compose["services"]["prometheus"]["profiles"], "one comes without the other");
    let is_local = |port: &String| port.starts_with("127.0.0.1:");
    ensure!(strings(&grafana["ports"]).iter().all(is_local), "it is served to other machines");

    let source = tree.documents(SOURCES)?.remove(0)["datasources"][0].clone();
    ensure!(source["type"] == "prometheus" && source["url"] == "http://prometheus:9090", "another source: {source}");
    let scraping = tree.documents("docker/prometheus.yml")?.remove(0);
    let interval = &scraping["global"]["scrape_interval"];
    ensure!(source["jsonData"]["timeInterval"] == *interval, "scraped every {interval}");

    let component = tree.documents("components/monitoring/kustomization.yaml")?.remove(0);
    let map = named(&component["configMapGenerator"], "impala-dashboard")?;
    ensure!(strings(&map["files"]) == ["impala.json=dashboard.json"], "another dashboard: {}", map["files"]);
    ensure!(map["options"]["labels"]["grafana_dashboard"] == "1", "the sidecar does not look for it");
    ensure!(map["namespace"] == "impala", "it goes to {}", map["namespace"]);
    Ok(())
}

#[test]
fn compose_and_kubernetes_have_the_same_dashboard() {
    let component = "components/monitoring/kustomization.yaml";
    holds(
        one_dashboard_for_all,
        &[
            (COMPOSE, "../k8s/components/monitoring/dashboard.json:", "./grafana/dashboard.json:"),
            (COMPOSE, "HOME_DASHBOARD_PATH: /etc/grafana/dashboards/", "HOME_DASHBOARD_PATH: /etc/grafana/"),
            (COMPOSE, "./grafana/provisioning:/etc/grafana/provisioning", "./grafana:/etc/grafana/provisioning"),
            (COMPOSE, "\"127.0.0.1:${IMPALA_GRAFANA_PORT:-3000}:3000\"", "\"${IMPALA_GRAFANA_PORT:-3000}:3000\""),
            (PROVIDERS, "path: /etc/grafana/dashboards", "path: /var/lib/grafana/dashboards"),
            (SOURCES, "url: http://prometheus:9090", "url: http://prometheus:9099"),
            (SOURCES, "timeInterval: 5s", "timeInterval: 15s"),
            ("docker/prometheus.yml", "scrape_interval: 5s", "scrape_interval: 10s"),
            (component, "impala.json=dashboard.json", "impala.json=board.json"),
            (component, "grafana_dashboard: \"1\"", "grafana_dashboards: \"1\""),
            (component, "    namespace: impala\n", ""),
        ],
    );
}
