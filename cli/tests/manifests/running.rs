//! The programs started with what the manifests give them: a run from a waiting actor to a completed run that goes on being
//! served, what the probes hear of it, and that a learner that is started again finds it completed. Ports are free ones of this
//! machine, paths are in a temporary directory.

use crate::IMPALA;
use crate::objects::workload;
use crate::programs::mounted_file;
use crate::tree::{Tree, container, list};
use impala_harness::processes::{Run, address, asked, get, line_with, signal, start, wait_for_end};
use serde_json::Value;
use std::process::Command;

/// A container's environment, with other values where this machine is not a cluster.
fn with_environment(mut command: Command, container: &Value, here: &[(&str, &str)]) -> Command {
    for variable in list(&container["env"]) {
        let name = variable["name"].as_str().unwrap();
        let instead = here.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        // What a cluster fills in, from the pod.
        let of_pod = variable["valueFrom"]["fieldRef"]["fieldPath"].as_str();
        command.env(name, instead.or(variable["value"].as_str()).or(of_pod).unwrap());
    }
    command
}

#[test]
fn programs_run_as_the_manifests_start_them() {
    let (tree, run) = (Tree::read(), Run::of(IMPALA));
    let (actor, learner) = (workload(&tree, "actor").unwrap(), workload(&tree, "learner").unwrap());
    std::fs::create_dir_all(run.path()).unwrap();
    let config = run.path().join("impala.toml");
    std::fs::write(&config, mounted_file(&tree, &learner, "/etc/impala/impala.toml").unwrap()).unwrap();
    let path = |name: &str| run.path().join(name).to_str().unwrap().to_owned();
    let status_code =
        |address: &str, path: &str| get(address, path).0.split(' ').nth(1).unwrap().parse::<u16>().unwrap();
    let probe = |address: &str, probe: &str| {
        let path = &container(&actor).unwrap()[probe]["httpGet"]["path"];
        status_code(address, path.as_str().unwrap())
    };

    // The learner's port is settled before it is there, so that an actor can wait for it.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let here =
        [("IMPALA_LEARNER", port.as_str()), ("IMPALA_ACTOR_NAME", "pod"), ("IMPALA_METRICS_LISTEN", "127.0.0.1:0")];
    let command = with_environment(IMPALA.command(&["actor"]), container(&actor).unwrap(), &here);
    let (mut actor_process, actor_log) = start(&mut { command });
    let probed = address(&actor_log, "http://", "/metrics");
    assert_eq!(probe(&probed, "startupProbe"), 200);
    assert_eq!(probe(&probed, "livenessProbe"), 200, "an actor without a learner must not be restarted");
    assert_eq!(probe(&probed, "readinessProbe"), 503, "an actor without a learner is not ready");

    let here = [
        ("IMPALA_CONFIG", path("impala.toml")),
        ("IMPALA_RUN_DIR", path("cartpole")),
        ("IMPALA_LISTEN", port.clone()),
        ("IMPALA_METRICS_LISTEN", "127.0.0.1:0".into()),
    ];
    let here = here.each_ref().map(|(name, value)| (*name, value.as_str()));
    let start_learner = || {
        let mut command = with_environment(IMPALA.command(&["learner"]), container(&learner).unwrap(), &here);
        let (process, log) = start(&mut command);
        let metrics = address(&log, "http://", "/metrics");
        line_with(&log, "training is over; serving the final model");
        asked("the completed run", || {
            let completed = "impala_learner_run_state{state=\"completed\"} 1";
            get(&metrics, "/metrics").1.contains(completed).then_some(())
        });
        (process, log, metrics)
    };
    let (mut learner_process, _log, metrics) = start_learner();
    line_with(&actor_log, "idle until the learner at");
    assert_eq!(probe(&probed, "readinessProbe"), 200, "an idle actor is ready");
    assert_eq!(status_code(&metrics, "/readyz"), 200, "a completed run is ready");
    let healthy = IMPALA.command(&["health", "learner"]).env("IMPALA_LISTEN", &port).status().unwrap();
    assert!(healthy.success());
    let status = IMPALA.command(&["status", "--learner", &port]).output().unwrap();
    assert!(String::from_utf8_lossy(&status.stdout).contains("completed"), "{status:?}");

    signal(actor_process.id(), "TERM");
    assert!(wait_for_end(&mut actor_process).success());
    signal(learner_process.id(), "TERM");
    wait_for_end(&mut learner_process);
    // A pod that is replaced finds the run completed, without any actor.
    let (mut learner_process, _log, _) = start_learner();
    signal(learner_process.id(), "TERM");
    wait_for_end(&mut learner_process);
}
