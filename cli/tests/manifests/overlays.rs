//! The kustomizations: what they patch, scale, scrape and name is there. That they build is checked by
//! `scripts/check-manifests.sh`.

use crate::objects::{chosen, workload};
use crate::tree::{Tree, container, holds, is, list, name, named, strings};
use anyhow::{Context, ensure};
use impala_learner::cli::LearnerArgs;
use serde_json::Value;

/// The object of the base that a patch or a reference means.
fn target(tree: &Tree, kind: &Value, name: &Value) -> anyhow::Result<Value> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    tree.object(&text(kind), &text(name))
}

/// A patch that merges names an object of the base, its container, and settings of the learner.
fn merges(tree: &Tree, file: &str) -> anyhow::Result<()> {
    let patch = tree.documents(file)?.into_iter().next().context("an empty patch")?;
    let object = target(tree, &patch["kind"], &patch["metadata"]["name"])?;
    ensure!(patch["metadata"]["namespace"] == object["metadata"]["namespace"], "{} in another namespace", name(&patch));
    let (patched, container) = (container(&patch)?, container(&object)?);
    ensure!(patched["name"] == container["name"], "{} would get a second container {}", name(&object), patched["name"]);
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        ensure!(patched[probe].is_null() || container[probe].is_object(), "there is no {probe} to patch");
    }
    let volumes = &patch["spec"]["template"]["spec"]["volumes"];
    for mount in list(&patched["volumeMounts"]) {
        named(volumes, mount["name"].as_str().unwrap_or_default())?;
    }
    let command = <LearnerArgs as clap::Args>::augment_args(clap::Command::new("learner"));
    for variable in list(&patched["env"]) {
        let name = variable["name"].as_str().unwrap_or_default();
        let is_setting = command.get_arguments().any(|argument| argument.get_env().is_some_and(|env| env == name));
        ensure!(is_setting || !name.starts_with("IMPALA_"), "no setting is {name}");
    }
    Ok(())
}

/// A patch by paths names an object of the base and places in it.
fn edits(tree: &Tree, patch: &Value) -> anyhow::Result<()> {
    let object = target(tree, &patch["target"]["kind"], &patch["target"]["name"])?;
    let operations: Vec<Value> = serde_saphyr::from_str(patch["patch"].as_str().context("a patch is a text")?)?;
    for operation in operations {
        let path = operation["path"].as_str().context("an operation has no path")?;
        // `/-` is the place after the last element of a list.
        let place = object.pointer(path.strip_suffix("/-").unwrap_or(path));
        ensure!(place.is_some(), "{} has no {path}", name(&object));
        ensure!(
            path.ends_with("/-") == (operation["op"] == "add"),
            "{} is not an operation for {path}",
            operation["op"]
        );
    }
    Ok(())
}

fn kustomizations_name_what_is_there(tree: &Tree) -> anyhow::Result<()> {
    let components: Vec<&str> =
        tree.names("components/").filter(|file| file.ends_with("/kustomization.yaml")).collect();
    ensure!(components.len() == 4, "components: {components:?}");
    for file in components {
        let (directory, _) = file.rsplit_once('/').context("a directory")?;
        let component = tree.documents(file)?.remove(0);
        ensure!(component["kind"] == "Component", "{file} is no component: it could not be combined with others");
        for resource in strings(&component["resources"]) {
            tree.documents(&format!("{directory}/{resource}"))?;
        }
        for patch in list(&component["patches"]) {
            match patch["path"].as_str() {
                Some(path) => {
                    merges(tree, &format!("{directory}/{path}")).with_context(|| format!("{directory}/{path}"))?;
                }
                None => edits(tree, patch).with_context(|| file.to_owned())?,
            }
        }
        let overlay = file.replace("components/", "overlays/");
        let overlay = tree.documents(&overlay)?.remove(0);
        let own = format!("../../{directory}");
        ensure!(strings(&overlay["resources"]) == ["../../base"], "the overlay of {directory} is on another base");
        ensure!(strings(&overlay["components"]).contains(&own), "the overlay of {directory} is without it");
    }
    Ok(())
}

#[test]
fn kustomizations_patch_objects_that_exist() {
    holds(
        kustomizations_name_what_is_there,
        &[
            ("components/gpu/learner.yml", "  name: impala-learner", "  name: learner"),
            ("components/gpu/learner.yml", "- name: learner", "- name: impala-learner"),
            ("components/gpu/learner.yml", "IMPALA_DEVICE", "IMPALA_GPU"),
            (
                "components/gpu/learner.yml",
                "        - name: cache\n          emptyDir",
                "        - name: caches\n          emptyDir",
            ),
            ("components/gpu/kustomization.yaml", "path: learner.yml", "path: statefulset.yml"),
            ("components/gpu/kustomization.yaml", "kind: StatefulSet", "kind: Deployment"),
            ("components/gpu/kustomization.yaml", "spec/tolerations/-", "spec/toleration/-"),
            ("components/autoscale/kustomization.yaml", "path: /spec/replicas", "path: /spec/replicaCount"),
            ("components/autoscale/kustomization.yaml", "op: remove", "op: add"),
            ("components/monitoring/kustomization.yaml", "- alerts.yml", "- rules.yml"),
            ("overlays/gpu/kustomization.yaml", "components/gpu", "components/autoscale"),
            ("components/gym/learner.yml", "IMPALA_ACCEPT_SPEC", "IMPALA_ACCEPT"),
            ("components/gym/actors.yml", "- name: actor", "- name: worker"),
        ],
    );
}

/// What is of the whole cluster would be shared with the first training, and deleted with either.
fn a_second_training_shares_nothing(tree: &Tree) -> anyhow::Result<()> {
    let overlay = tree.documents("overlays/second/kustomization.yaml")?.remove(0);
    let namespace = overlay["namespace"].as_str().context("it has no namespace")?;
    ensure!(strings(&overlay["resources"]) == ["../../base"], "it is of another base");
    let mut renamed = Vec::new();
    for patch in list(&overlay["patches"]) {
        edits(tree, patch)?;
        let operations: Vec<Value> = serde_saphyr::from_str(patch["patch"].as_str().context("a patch is a text")?)?;
        let places = operations.iter().map(|edit| (edit["path"].as_str().unwrap_or_default().to_owned(), edit));
        renamed.extend(places.map(|(path, edit)| (patch["target"].clone(), path, edit["value"].clone())));
    }
    let new_name = |object: &Value, path: &str| {
        let is_it = |target: &Value| target["kind"] == object["kind"] && target["name"] == object["metadata"]["name"];
        renamed.iter().find(|(target, at, _)| at == path && is_it(target)).map(|(_, _, value)| value.clone())
    };
    for object in tree.base()?.iter().filter(|object| object["metadata"]["namespace"].is_null()) {
        let new = new_name(object, "/metadata/name").with_context(|| format!("{} keeps its name", name(object)))?;
        ensure!(new != object["metadata"]["name"], "{} keeps its name", name(object));
        if object["kind"] == "Namespace" {
            ensure!(new == namespace, "objects go to {namespace}, and the namespace is {new}");
        } else {
            let actors = workload(tree, "actor")?;
            let class = new_name(&actors, "/spec/template/spec/priorityClassName");
            ensure!(class.as_ref() == Some(&new), "actors have the class {class:?}, and it is {new}");
        }
    }
    Ok(())
}

#[test]
fn a_second_training_can_be_deleted_without_the_first() {
    let file = "overlays/second/kustomization.yaml";
    holds(
        a_second_training_shares_nothing,
        &[
            (file, "namespace: impala-second", "namespace: impala"),
            (file, "      kind: PriorityClass", "      kind: ConfigMap"),
            (
                file,
                "        path: /spec/template/spec/priorityClassName\n        value: impala-actor-second",
                "        path: /spec/template/spec/priorityClassName\n        value: impala-actor",
            ),
            ("base/actors.yml", "      priorityClassName: impala-actor\n", ""),
        ],
    );
}

/// Custom resources need operators that a cluster may not have: none is in what everybody applies.
fn base_needs_no_operator(tree: &Tree) -> anyhow::Result<()> {
    let groups = ["v1", "apps/v1", "policy/v1", "networking.k8s.io/v1", "scheduling.k8s.io/v1"];
    for object in tree.base()? {
        let version = object["apiVersion"].as_str().unwrap_or_default();
        ensure!(groups.contains(&version), "{} is of {version}", name(&object));
    }
    Ok(())
}

#[test]
fn the_base_needs_no_operator() {
    let change = ("base/network.yml", "apiVersion: networking.k8s.io/v1", "apiVersion: cilium.io/v2");
    holds(base_needs_no_operator, &[change]);
}

/// The autoscaler scales the actors, alone, down to none and up to the 64 that the manifest is made for.
fn autoscaler_scales_the_actors(tree: &Tree) -> anyhow::Result<()> {
    let resources = tree.custom_resources()?;
    let scaler = resources.iter().find(|object| is(object, "ScaledObject", "impala-actor")).context("no autoscaler")?;
    let spec = &scaler["spec"];
    target(tree, &spec["scaleTargetRef"]["kind"], &spec["scaleTargetRef"]["name"])?;
    ensure!(spec["scaleTargetRef"]["name"] == "impala-actor", "not the actors are scaled");
    let numbers = (spec["minReplicaCount"].as_u64(), spec["maxReplicaCount"].as_u64());
    ensure!(numbers == (Some(0), Some(64)), "from {:?} to {:?} actors", numbers.0, numbers.1);
    let text = tree.text("components/autoscale/kustomization.yaml")?;
    ensure!(text.contains("path: /spec/replicas"), "every apply would set the number back");
    for trigger in list(&spec["triggers"]) {
        ensure!(trigger["type"] == "prometheus", "scaled on {}", trigger["type"]);
        ensure!(trigger["metadata"]["ignoreNullValues"] == "false", "a missing sample would count as zero");
    }
    ensure!(list(&spec["triggers"]).len() == 2, "starvation, and whether the run goes on");
    Ok(())
}

#[test]
fn the_autoscaler_owns_the_number_of_actors() {
    holds(
        autoscaler_scales_the_actors,
        &[
            (
                "components/autoscale/scaledobject.yml",
                "    kind: Deployment\n    name: impala-actor",
                "    kind: Deployment\n    name: actor",
            ),
            ("components/autoscale/scaledobject.yml", "minReplicaCount: 0", "minReplicaCount: 4"),
            ("components/autoscale/scaledobject.yml", "- type: prometheus", "- type: cpu"),
            ("components/autoscale/scaledobject.yml", "ignoreNullValues: \"false\"", "ignoreNullValues: \"true\""),
            ("components/autoscale/kustomization.yaml", "/spec/replicas", "/spec/paused"),
        ],
    );
}

/// The monitors ask the ports at which the programs serve metrics.
fn monitors_ask_the_metrics_ports(tree: &Tree) -> anyhow::Result<()> {
    let resources = tree.custom_resources()?;
    let monitors: Vec<&Value> = resources.iter().filter(|object| object["kind"] == "PodMonitor").collect();
    ensure!(monitors.len() == 2, "{} monitors", monitors.len());
    for monitor in monitors {
        for component in chosen(tree, &monitor["spec"]["selector"]["matchLabels"])? {
            let workload = workload(tree, component)?;
            let container = container(&workload)?;
            for endpoint in list(&monitor["spec"]["podMetricsEndpoints"]) {
                let port = endpoint["port"].as_str().context("an endpoint has no port")?;
                ensure!(port == "metrics", "{} asks at {port}", name(monitor));
                named(&container["ports"], port)?;
                ensure!(endpoint["path"] == "/metrics", "{} asks for {}", name(monitor), endpoint["path"]);
            }
        }
    }
    Ok(())
}

#[test]
fn monitors_scrape_the_metrics_ports() {
    let file = "components/monitoring/podmonitors.yml";
    let changes = [
        (file, "port: metrics", "port: http"),
        (file, "path: /metrics", "path: /stats"),
        ("base/actors.yml", "- name: metrics\n", "- name: prometheus\n"),
    ];
    holds(monitors_ask_the_metrics_ports, &changes);
}
