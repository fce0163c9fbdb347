//! The network policies: everything is shut, and what is opened is what the programs need.

use crate::objects::{chosen, workload};
use crate::tree::{Tree, container, holds, list, named};
use anyhow::{Context, ensure};
use serde_json::{Value, json};

/// One way that a policy opens, in words to compare: who, and which ports.
fn ways(tree: &Tree, rules: &Value, peers: &str) -> anyhow::Result<Vec<String>> {
    let mut ways = Vec::new();
    for rule in list(rules) {
        let port = |port: &Value| format!("{}/{}", port["protocol"].as_str().unwrap_or("any"), port["port"]);
        let ports: Vec<String> = list(&rule["ports"]).iter().map(port).collect();
        let mut from = Vec::new();
        for peer in list(&rule[peers]) {
            from.push(match peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"].as_str() {
                Some(namespace) => format!("namespace {namespace}"),
                None => chosen(tree, &peer["podSelector"]["matchLabels"])?.join(" and "),
            });
        }
        let from = if from.is_empty() { "anyone".to_owned() } else { from.join(" and ") };
        ways.push(format!("{from}: {}", ports.join(" ")));
    }
    Ok(ways)
}

fn policies_open_what_is_needed(tree: &Tree) -> anyhow::Result<()> {
    let shut = tree.object("NetworkPolicy", "impala-default-deny")?;
    let both = json!(["Ingress", "Egress"]);
    ensure!(shut["spec"] == json!({"podSelector": {}, "policyTypes": both}), "not everything is shut");

    let port = |component: &str, name: &str| {
        let workload = workload(tree, component)?;
        named(&container(&workload)?["ports"], name)?["containerPort"].as_u64().context("no number")
    };
    let (grpc, metrics, actor_metrics) =
        (port("learner", "grpc")?, port("learner", "metrics")?, port("actor", "metrics")?);

    let learner = tree.object("NetworkPolicy", "impala-learner")?["spec"].clone();
    let ingress = ways(tree, &learner["ingress"], "from")?;
    let wanted = [format!("actor: TCP/{grpc}"), format!("namespace monitoring: TCP/{metrics}")];
    ensure!(ingress == wanted, "into the learner: {ingress:?}");
    // A server drops an empty list, and then the file and what it has differ for ever.
    ensure!(learner["egress"].is_null(), "the learner needs to reach nobody: {}", learner["egress"]);

    let actor = tree.object("NetworkPolicy", "impala-actor")?["spec"].clone();
    let ingress = ways(tree, &actor["ingress"], "from")?;
    ensure!(ingress == [format!("namespace monitoring: TCP/{actor_metrics}")], "into the actor: {ingress:?}");
    let egress = ways(tree, &actor["egress"], "to")?;
    let wanted = [format!("learner: TCP/{grpc}"), "anyone: UDP/53 TCP/53".to_owned()];
    ensure!(egress == wanted, "out of the actor: {egress:?}");

    ensure!(learner["policyTypes"] == both && actor["policyTypes"] == both, "policies say both directions");
    Ok(())
}

#[test]
fn policies_let_in_actors_and_monitoring_and_nobody_else() {
    holds(
        policies_open_what_is_needed,
        &[
            (
                "base/network.yml",
                "  podSelector: {}\n  policyTypes: [Ingress, Egress]",
                "  podSelector: {}\n  policyTypes: [Ingress]",
            ),
            ("base/network.yml", "          port: 50051", "          port: 50052"),
            ("base/network.yml", "          port: 9090", "          port: 9091"),
            ("base/network.yml", "kubernetes.io/metadata.name: monitoring", "kubernetes.io/metadata.name: default"),
            (
                "base/network.yml",
                "              app.kubernetes.io/component: actor",
                "              app.kubernetes.io/component: learner",
            ),
            ("base/network.yml", "          port: 9090\n", "          port: 9090\n  egress:\n    - {}\n"),
            ("base/network.yml", "          port: 9090\n", "          port: 9090\n  egress: []\n"),
            ("base/network.yml", "        - protocol: UDP\n          port: 53\n", ""),
            (
                "base/network.yml",
                "    - from:\n        - podSelector:",
                "    - ports: []\n    - from:\n        - podSelector:",
            ),
        ],
    );
}
