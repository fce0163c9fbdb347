//! The learner's StatefulSet against the learner: its settings, ports, health, volume, and time to shut down.

use crate::objects::workload;
use crate::programs;
use crate::tree::{Tree, container, holds, list, named, port_number};
use anyhow::{Context, ensure};
use impala_common::wire::HEALTH_LEARNER;
use impala_learner::app::{GRACE, LAST_CHECKPOINT_MAX};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// The ConfigMap and the variables are settings that the learner accepts, and make the run that the manifest promises.
fn settings_are_accepted(tree: &Tree) -> anyhow::Result<()> {
    let config = programs::learner(tree, &workload(tree, "learner")?)?;
    ensure!(config.serving.keep_serving, "without keep_serving a finished training would be restarted for ever");
    let replicas = tree.object("Deployment", "impala-actor")?["spec"]["replicas"].as_u64().context("no replicas")?;
    ensure!(config.actors_needed() == 1, "with few actors training would stand still");
    ensure!(replicas >= 1, "nothing would be trained");
    ensure!(!config.task.deterministic, "a deterministic run ends when an actor is lost, and takes a fixed number");
    ensure!(
        config.batching.batch_size.is_none(),
        "batches are to follow the actors: their number is changed from outside"
    );
    ensure!(
        config.goal.time_max.duration() >= Duration::from_secs(7 * 24 * 3600),
        "time runs on while no actor is there"
    );
    Ok(())
}

#[test]
fn training_config_and_variables_are_settings_of_the_learner() {
    holds(
        settings_are_accepted,
        &[
            ("base/training.yml", "unroll_length = 10", "unroll_lenght = 10"),
            ("base/training.yml", "unroll_length = 10", "batch_size = 12"),
            ("base/training.yml", "unroll_length = 10", "batch_size = 8"),
            ("base/training.yml", "seed = 1", "deterministic = true"),
            ("base/training.yml", "time_max = \"30d\"", "time_max = \"10m\""),
            ("base/training.yml", "  impala.toml: |", "  training.toml: |"),
            ("base/learner.yml", "IMPALA_LOG_FORMAT", "IMPALA_LOGS"),
            ("base/learner.yml", "value: json", "value: yaml"),
            ("base/learner.yml", "value: /etc/impala/impala.toml", "value: /etc/impala.toml"),
            (
                "base/learner.yml",
                "name: IMPALA_KEEP_SERVING\n              value: \"true\"",
                "name: IMPALA_SEED\n              value: \"2\"",
            ),
            ("base/learner.yml", "            name: impala-training", "            name: impala-config"),
            ("base/actors.yml", "replicas: 4", "replicas: 0"),
        ],
    );
}

/// Where the learner listens, what the container opens, what the service offers and what is probed are the same ports.
fn ports_agree(tree: &Tree) -> anyhow::Result<()> {
    let workload = workload(tree, "learner")?;
    let container = container(&workload)?;
    let config = programs::learner(tree, &workload)?;
    for (name, address) in [("grpc", config.serving.listen), ("metrics", config.serving.metrics_listen)] {
        let port = named(&container["ports"], name)?["containerPort"].as_u64();
        ensure!(port == Some(address.port().into()), "the port {name} is {port:?}, the learner listens on {address}");
        ensure!(address.ip().is_unspecified(), "{address} is not reached from outside the pod");
    }
    ensure!(workload["spec"]["serviceName"] == "impala-learner", "the StatefulSet's service is another");
    let (own, stable) = (tree.object("Service", "impala-learner")?, tree.object("Service", "impala")?);
    ensure!(own["spec"]["clusterIP"] == "None", "a StatefulSet's service must be headless");
    ensure!(stable["spec"]["type"] == "ClusterIP", "the name must have an address also while there is no pod");
    for service in [own, stable] {
        ensure!(service["spec"]["publishNotReadyAddresses"] == true, "a learner that begins would not be reached");
        let [port] = list(&service["spec"]["ports"]) else { anyhow::bail!("a service has more than the gRPC port") };
        let target = port_number(container, &port["targetPort"])?;
        ensure!(target == u64::from(config.serving.listen.port()), "a service leads to port {target}");
        // A headless service's name gives the pod's address: there is no translation of ports.
        ensure!(port["port"].as_u64() == Some(target), "a service leads from {} to {target}", port["port"]);
    }
    Ok(())
}

#[test]
fn ports_of_learner_container_and_service_agree() {
    holds(
        ports_agree,
        &[
            ("base/learner.yml", "value: 0.0.0.0:50051", "value: 0.0.0.0:50052"),
            ("base/learner.yml", "value: 0.0.0.0:9090", "value: 127.0.0.1:9090"),
            ("base/learner.yml", "containerPort: 9090", "containerPort: 9091"),
            ("base/learner.yml", "targetPort: grpc", "targetPort: metrics"),
            ("base/learner.yml", "- name: grpc\n      port: 50051", "- name: grpc\n      port: 80"),
            ("base/learner.yml", "  clusterIP: None\n", ""),
            ("base/learner.yml", "  type: ClusterIP\n", "  clusterIP: None\n"),
            ("base/learner.yml", "serviceName: impala-learner", "serviceName: learner"),
            ("base/learner.yml", "publishNotReadyAddresses: true", "publishNotReadyAddresses: false"),
        ],
    );
}

/// The probes are gRPC health checks of the learner's port: liveness of the process, readiness of the service.
fn probes_are_health_services(tree: &Tree) -> anyhow::Result<()> {
    let workload = workload(tree, "learner")?;
    let container = container(&workload)?;
    let port = programs::learner(tree, &workload)?.serving.listen.port();
    for (probe, service) in [("startupProbe", ""), ("livenessProbe", ""), ("readinessProbe", HEALTH_LEARNER)] {
        let health = &container[probe]["grpc"];
        ensure!(health["port"].as_u64() == Some(port.into()), "{probe} asks at {}", health["port"]);
        ensure!(health["service"] == service, "{probe} asks for {}", health["service"]);
    }
    let seconds = |probe: &str| {
        let value = |key: &str| container[probe][key].as_u64().with_context(|| format!("{probe} lacks {key}"));
        anyhow::Ok(value("periodSeconds")? * value("failureThreshold")?)
    };
    ensure!(seconds("startupProbe")? >= 60, "a learner that reads a checkpoint would be killed");
    ensure!(seconds("livenessProbe")? >= 30, "a busy learner would be killed");
    Ok(())
}

#[test]
fn probes_name_health_services_of_the_learner() {
    let to_service = ("service: impala.v1.Learner", "service: impala.v1.Training");
    holds(
        probes_are_health_services,
        &[
            ("base/learner.yml", to_service.0, to_service.1),
            ("base/learner.yml", "service: \"\"", "service: impala.v1.Learner"),
            ("base/learner.yml", "              port: 50051", "              port: 9090"),
            ("base/learner.yml", "              port: 50051", "              port: grpc"),
            ("base/learner.yml", "failureThreshold: 60", "failureThreshold: 3"),
            ("base/learner.yml", "failureThreshold: 6\n", "failureThreshold: 1\n"),
        ],
    );
}

/// The run lies on the claim, and only there can be written.
fn run_lies_on_the_claim(tree: &Tree) -> anyhow::Result<()> {
    let workload = workload(tree, "learner")?;
    let container = container(&workload)?;
    let pod = &workload["spec"]["template"]["spec"];
    let claims = list(&workload["spec"]["volumeClaimTemplates"]);
    let is_claim = |name: &Value| claims.iter().any(|claim| claim["metadata"]["name"] == *name);
    for mount in list(&container["volumeMounts"]) {
        let is_volume = list(&pod["volumes"]).iter().any(|volume| volume["name"] == mount["name"]);
        ensure!(is_volume || is_claim(&mount["name"]), "nothing is mounted as {}", mount["name"]);
    }
    let config = programs::learner(tree, &workload)?;
    let run = config.output.run_dir.context("without IMPALA_RUN_DIR every start begins a new run")?;
    ensure!(run.is_absolute(), "{} depends on where the learner is started", run.display());
    let mut claim_mounts = list(&container["volumeMounts"]).iter().filter(|mount| is_claim(&mount["name"]));
    let holds_the_run =
        |mount: &Value| mount["mountPath"].as_str().is_some_and(|path| run.starts_with(Path::new(path)));
    ensure!(claim_mounts.any(holds_the_run), "{} is on no claim", run.display());
    ensure!(container["securityContext"]["readOnlyRootFilesystem"] == true, "what is written elsewhere would be lost");
    ensure!(
        pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsUser"],
        "the user could not write the volume"
    );
    ensure!(workload["spec"]["replicas"] == 1, "a run has one learner");
    Ok(())
}

#[test]
fn the_run_lies_on_the_persistent_volume() {
    holds(
        run_lies_on_the_claim,
        &[
            ("base/learner.yml", "value: /runs/cartpole", "value: /elsewhere/cartpole"),
            ("base/learner.yml", "IMPALA_RUN_DIR", "IMPALA_RUNS_DIR"),
            ("base/learner.yml", "        name: runs\n        labels", "        name: volume\n        labels"),
            ("base/learner.yml", "fsGroup: 65532", "fsGroup: 1000"),
            ("base/learner.yml", "replicas: 1", "replicas: 2"),
        ],
    );
}

/// Kubernetes waits longer than a shutdown takes.
fn grace_covers_the_shutdown(tree: &Tree) -> anyhow::Result<()> {
    let workload = workload(tree, "learner")?;
    let grace = workload["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_u64().context("no grace")?;
    let needed = GRACE + LAST_CHECKPOINT_MAX;
    ensure!(Duration::from_secs(grace) >= needed, "{grace} s of grace, a shutdown takes up to {needed:?}");
    Ok(())
}

#[test]
fn the_grace_period_covers_the_learners_shutdown() {
    let change = ("base/learner.yml", "terminationGracePeriodSeconds: 30", "terminationGracePeriodSeconds: 10");
    holds(grace_covers_the_shutdown, &[change]);
}
