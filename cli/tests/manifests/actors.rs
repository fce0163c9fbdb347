//! The actors' Deployment against the actor: its settings, its HTTP port, its identity, and its time to shut down; and what
//! lets their number change at any time.

use crate::objects::workload;
use crate::programs;
use crate::tree::{Tree, container, holds, list, named, port_number, root};
use anyhow::{Context, ensure};
use std::time::Duration;

/// Paths that the actor's HTTP port answers besides `/metrics`.
const LIVE: &str = "/livez";
const READY: &str = "/readyz";

/// An actor needs the learner's address and a name: it is given these, and finds the learner's service there.
fn settings_are_accepted(tree: &Tree) -> anyhow::Result<()> {
    let workload = workload(tree, "actor")?;
    let container = container(&workload)?;
    programs::actor(container)?;
    let address = named(&container["env"], "IMPALA_LEARNER")?["value"].as_str().context("the address is a text")?;
    let service = tree.object("Service", "impala")?;
    let port = &service["spec"]["ports"][0]["port"];
    // The short name, which needs no cluster domain and is found by the first look-up.
    ensure!(address == format!("dns:///impala:{port}"), "actors look for {address}");
    ensure!(named(&container["env"], "IMPALA_WAIT")?["value"] == "true", "a rolling upgrade would end in crash loops");
    let field = &named(&container["env"], "IMPALA_ACTOR_NAME")?["valueFrom"]["fieldRef"]["fieldPath"];
    ensure!(field == "metadata.name", "an actor is called after {field}, not after its pod");
    Ok(())
}

#[test]
fn variables_are_settings_of_the_actor() {
    holds(
        settings_are_accepted,
        &[
            ("base/actors.yml", "IMPALA_LEARNER\n", "IMPALA_LEARNER_URL\n"),
            ("base/actors.yml", "dns:///impala:50051", "dns:///learner:50051"),
            ("base/actors.yml", "dns:///impala:50051", "dns:///impala:9090"),
            (
                "base/actors.yml",
                "IMPALA_WAIT\n              value: \"true\"",
                "IMPALA_WAIT\n              value: \"false\"",
            ),
            ("base/actors.yml", "fieldPath: metadata.name", "fieldPath: spec.nodeName"),
            ("base/actors.yml", "value: 0.0.0.0:9091", "value: \"9091\""),
            ("base/learner.yml", "- name: grpc\n      port: 50051", "- name: grpc\n      port: 50052"),
        ],
    );
}

/// Actors give way to the learner, which takes the place of one of them on a full cluster, and to other people's pods; a cluster
/// autoscaler still makes room for them.
fn actors_give_way(tree: &Tree) -> anyhow::Result<()> {
    let class = tree.object("PriorityClass", "impala-actor")?;
    let value = class["value"].as_i64().context("the class has no value")?;
    ensure!((-9..0).contains(&value), "a priority of {value}");
    ensure!(class["preemptionPolicy"] == "Never" && class["globalDefault"] == false, "actors would displace others");
    let pod = |component: &str| anyhow::Ok(workload(tree, component)?["spec"]["template"]["spec"].clone());
    ensure!(pod("actor")?["priorityClassName"] == "impala-actor", "actors have another priority");
    ensure!(pod("learner")?["priorityClassName"].is_null(), "the learner would displace other people's pods");
    Ok(())
}

#[test]
fn actors_give_way_to_the_learner_and_to_others() {
    holds(
        actors_give_way,
        &[
            ("base/actors.yml", "value: -5", "value: 5"),
            ("base/actors.yml", "value: -5", "value: -50"),
            ("base/actors.yml", "preemptionPolicy: Never", "preemptionPolicy: PreemptLowerPriority"),
            ("base/actors.yml", "      priorityClassName: impala-actor\n", ""),
            (
                "base/learner.yml",
                "      serviceAccountName",
                "      priorityClassName: impala-actor\n      serviceAccountName",
            ),
        ],
    );
}

/// The probes ask the port on which the actor listens, for what it tells there.
fn probes_ask_the_actor(tree: &Tree) -> anyhow::Result<()> {
    let workload = workload(tree, "actor")?;
    let container = container(&workload)?;
    let address = programs::actor(container)?.metrics_listen.0.context("an actor without metrics cannot be probed")?;
    ensure!(address.ip().is_unspecified(), "{address} is not reached from outside the pod");
    for (probe, path) in [("startupProbe", LIVE), ("livenessProbe", LIVE), ("readinessProbe", READY)] {
        let request = &container[probe]["httpGet"];
        ensure!(request["path"] == path, "{probe} asks for {}", request["path"]);
        let port = port_number(container, &request["port"])?;
        ensure!(port == u64::from(address.port()), "{probe} asks at {port}, the actor listens on {address}");
    }
    Ok(())
}

#[test]
fn probes_ask_the_actors_own_port() {
    holds(
        probes_ask_the_actor,
        &[
            ("base/actors.yml", "path: /livez", "path: /healthz"),
            ("base/actors.yml", "path: /readyz", "path: /livez"),
            ("base/actors.yml", "value: 0.0.0.0:9091", "value: \"off\""),
            ("base/actors.yml", "value: 0.0.0.0:9091", "value: 127.0.0.1:9091"),
            ("base/actors.yml", "containerPort: 9091", "containerPort: 9090"),
            ("base/actors.yml", "port: metrics", "port: http"),
        ],
    );
}

/// Any number of actors runs anywhere; a drain is never held up; a shutdown has its time.
fn number_can_change(tree: &Tree) -> anyhow::Result<()> {
    let workload = workload(tree, "actor")?;
    let pod = &workload["spec"]["template"]["spec"];
    ensure!(list(&pod["volumes"]).is_empty(), "an actor keeps nothing");
    let constraints = list(&pod["topologySpreadConstraints"]);
    ensure!(!constraints.is_empty(), "actors are not spread");
    let is_soft = constraints.iter().all(|constraint| constraint["whenUnsatisfiable"] == "ScheduleAnyway");
    ensure!(is_soft, "with few nodes actors could not be scheduled");
    let budget = tree.object("PodDisruptionBudget", "impala-actor")?;
    // A number of actors that must stay would hold up the drain of a node when there are no more of them.
    let share = budget["spec"]["maxUnavailable"].as_str().and_then(|text| text.strip_suffix('%')?.parse::<u8>().ok());
    ensure!(share.is_some_and(|share| share > 0), "the budget allows {}", budget["spec"]["maxUnavailable"]);
    ensure!(budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow", "waiting actors hold up a drain");
    let grace = pod["terminationGracePeriodSeconds"].as_u64().context("no grace period")?;
    let needed = 3 * impala_actor::link::FAREWELL_GRACE;
    ensure!(Duration::from_secs(grace) >= needed, "{grace} s of grace, a farewell takes {needed:?} with room");
    Ok(())
}

#[test]
fn the_number_of_actors_can_change_at_any_time() {
    holds(
        number_can_change,
        &[
            ("base/actors.yml", "whenUnsatisfiable: ScheduleAnyway", "whenUnsatisfiable: DoNotSchedule"),
            ("base/actors.yml", "  maxUnavailable: 25%\n  unhealthy", "  minAvailable: 1\n  unhealthy"),
            ("base/actors.yml", "  unhealthyPodEvictionPolicy: AlwaysAllow\n", ""),
            ("base/actors.yml", "terminationGracePeriodSeconds: 10", "terminationGracePeriodSeconds: 2"),
        ],
    );
}

/// Every image is a target of `docker/Dockerfile`, and its user is the pods'.
fn images_are_built(tree: &Tree) -> anyhow::Result<()> {
    let dockerfile = std::fs::read_to_string(root().join("docker/Dockerfile")).context("docker/Dockerfile")?;
    let targets: Vec<&str> = dockerfile.lines().filter_map(|line| Some(line.split_once(" AS ")?.1.trim())).collect();
    let mut images = Vec::new();
    for component in ["learner", "actor"] {
        let workload = workload(tree, component)?;
        let image = container(&workload)?["image"].as_str().context("no image")?;
        images.push(
            image.strip_suffix(":latest").with_context(|| format!("{image} is not what a build tags"))?.to_owned(),
        );
        let user = workload["spec"]["template"]["spec"]["securityContext"]["runAsUser"].as_u64().context("no user")?;
        ensure!(dockerfile.contains(&format!("USER {user}:{user}")), "{user} is not the images' user");
    }
    for image in list(&tree.documents("components/gpu/kustomization.yaml")?[0]["images"]) {
        let name = image["name"].as_str().unwrap_or_default();
        ensure!(images.iter().any(|known| known == name), "no container has the image {name}");
        images.push(image["newName"].as_str().context("no new image")?.to_owned());
    }
    ensure!(images.len() == 3, "images: {images:?}");
    for image in images {
        let target = image.strip_prefix("impala-").with_context(|| format!("{image} is no image of this project"))?;
        ensure!(targets.contains(&target), "docker/Dockerfile has no target {target}");
    }
    Ok(())
}

#[test]
fn images_are_targets_of_the_dockerfile() {
    holds(
        images_are_built,
        &[
            ("base/actors.yml", "image: impala-actor:latest", "image: impala-actors:latest"),
            ("base/learner.yml", "image: impala-learner:latest", "image: learner:latest"),
            ("base/learner.yml", "runAsUser: 65532", "runAsUser: 1000"),
            ("components/gpu/kustomization.yaml", "name: impala-learner\n", "name: learner\n"),
            ("components/gpu/kustomization.yaml", "newName: impala-learner-gpu", "newName: impala-learner-cuda"),
        ],
    );
}
