//! How objects refer to each other: selectors and labels, names and namespaces.

use crate::tree::{Tree, holds, is, list, name};
use anyhow::{Context, ensure};
use serde_json::Value;

const COMPONENTS: [&str; 2] = ["learner", "actor"];

/// Components whose pods a selector of `matchLabels` chooses.
pub(crate) fn chosen(tree: &Tree, match_labels: &Value) -> anyhow::Result<Vec<&'static str>> {
    let wanted = match_labels.as_object().context("a selector has no labels")?;
    ensure!(!wanted.is_empty(), "a selector without labels chooses every pod");
    let mut chosen = Vec::new();
    for component in COMPONENTS {
        let labels = workload(tree, component)?["spec"]["template"]["metadata"]["labels"].clone();
        if wanted.iter().all(|(key, value)| labels[key] == *value) {
            chosen.push(component);
        }
    }
    Ok(chosen)
}

/// The StatefulSet of the learner or the Deployment of the actors.
pub(crate) fn workload(tree: &Tree, component: &str) -> anyhow::Result<Value> {
    let kind = if component == "learner" { "StatefulSet" } else { "Deployment" };
    tree.object(kind, &format!("impala-{component}"))
}

fn every_object(tree: &Tree) -> anyhow::Result<Vec<Value>> {
    let mut objects = tree.base()?;
    objects.extend(tree.custom_resources()?);
    Ok(objects)
}

/// Every selector chooses exactly the pods of the component that its object is named and labelled after.
fn selectors_choose_their_component(tree: &Tree) -> anyhow::Result<()> {
    let mut count = 0;
    for object in every_object(tree)? {
        let spec = &object["spec"];
        let mut selectors = Vec::new();
        match object["kind"].as_str().unwrap_or_default() {
            "StatefulSet" | "Deployment" => {
                selectors.push(&spec["selector"]["matchLabels"]);
                let constraints = list(&spec["template"]["spec"]["topologySpreadConstraints"]);
                selectors.extend(constraints.iter().map(|constraint| &constraint["labelSelector"]["matchLabels"]));
            }
            "PodDisruptionBudget" | "PodMonitor" => selectors.push(&spec["selector"]["matchLabels"]),
            "Service" => selectors.push(&spec["selector"]),
            "NetworkPolicy" if object["metadata"]["name"] != "impala-default-deny" => {
                selectors.push(&spec["podSelector"]["matchLabels"]);
            }
            _ => {}
        }
        let component = &object["metadata"]["labels"]["app.kubernetes.io/component"];
        for selector in selectors {
            let chosen = chosen(tree, selector).with_context(|| name(&object))?;
            ensure!(chosen == [component.as_str().unwrap_or_default()], "{} chooses {chosen:?}", name(&object));
            count += 1;
        }
    }
    ensure!(
        count == 10,
        "{count} selectors, 10 expected: two workloads, a spread, two services, a budget, two policies, two monitors"
    );
    Ok(())
}

#[test]
fn selectors_choose_exactly_the_pods_that_they_mean() {
    let to_nobody =
        ("app.kubernetes.io/component: actor\n  template", "app.kubernetes.io/component: actors\n  template");
    let spread = "            matchLabels:\n              app.kubernetes.io/name: impala\n";
    let changes = [
        ("base/actors.yml", to_nobody.0, to_nobody.1),
        (
            "base/actors.yml",
            "              app.kubernetes.io/component: actor",
            "              app.kubernetes.io/component: learner",
        ),
        ("base/actors.yml", spread, "            matchLabels:\n              app.kubernetes.io/name: other\n"),
        ("base/actors.yml", "      app.kubernetes.io/component: actor\n  template", "  template"),
        (
            "base/learner.yml",
            "    app.kubernetes.io/component: learner\n  ports",
            "    app.kubernetes.io/component: actor\n  ports",
        ),
        (
            "base/network.yml",
            "      app.kubernetes.io/component: actor\n  policyTypes",
            "      tier: actor\n  policyTypes",
        ),
        ("components/monitoring/podmonitors.yml", "      app.kubernetes.io/component: actor\n  pod", "  pod"),
    ];
    holds(selectors_choose_their_component, &changes);
}

/// Everything is in the one namespace, has the recommended labels, and says whose part it is.
fn objects_are_labelled(tree: &Tree) -> anyhow::Result<()> {
    let labelled = |labels: &Value| {
        let label = |key: &str| labels[format!("app.kubernetes.io/{key}")].as_str();
        let is_component = label("component").is_none_or(|component| COMPONENTS.contains(&component));
        label("name") == Some("impala") && label("part-of") == Some("impala") && is_component
    };
    for object in every_object(tree)? {
        ensure!(labelled(&object["metadata"]["labels"]), "{} lacks labels", name(&object));
        if object["kind"] == "PriorityClass" {
            // It is of the whole cluster: its name says whose it is.
            let is_ours = object["metadata"]["name"].as_str().is_some_and(|name| name.starts_with("impala-"));
            ensure!(is_ours && object["metadata"]["namespace"].is_null(), "{} is of no namespace", name(&object));
            continue;
        }
        let namespace = if object["kind"] == "Namespace" { "name" } else { "namespace" };
        ensure!(object["metadata"][namespace] == "impala", "{} is not in the namespace impala", name(&object));
    }
    for component in COMPONENTS {
        let template = &workload(tree, component)?["spec"]["template"]["metadata"];
        ensure!(labelled(&template["labels"]), "pods of the {component} lack labels");
    }
    Ok(())
}

#[test]
fn objects_have_the_recommended_labels_and_one_namespace() {
    let part_of = "    app.kubernetes.io/part-of: impala\n";
    holds(
        objects_are_labelled,
        &[
            ("base/learner.yml", part_of, ""),
            ("base/network.yml", part_of, ""),
            ("base/actors.yml", "  namespace: impala", "  namespace: default"),
            ("base/namespace.yml", "  name: impala\n", "  name: other\n"),
            ("components/autoscale/scaledobject.yml", "  namespace: impala", "  namespace: keda"),
        ],
    );
}

/// Pods use accounts that exist and have no token, in a namespace that enforces the restricted standard.
fn accounts_have_no_token(tree: &Tree) -> anyhow::Result<()> {
    let namespace = tree.object("Namespace", "impala")?;
    let level = &namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"];
    ensure!(level == "restricted", "the namespace enforces {level}");
    for component in COMPONENTS {
        let pod = workload(tree, component)?["spec"]["template"]["spec"].clone();
        let account = pod["serviceAccountName"].as_str().context("a pod has no account")?;
        let account = tree.object("ServiceAccount", account)?;
        for holder in [&account, &pod] {
            ensure!(holder["automountServiceAccountToken"] == false, "{component}: a token is mounted");
        }
        // The variables of a service would begin with IMPALA_, as settings do.
        ensure!(pod["enableServiceLinks"] == false, "{component}: services become variables");
    }
    Ok(())
}

#[test]
fn pods_have_accounts_without_a_token() {
    holds(
        accounts_have_no_token,
        &[
            ("base/namespace.yml", "enforce: restricted", "enforce: baseline"),
            ("base/namespace.yml", "automountServiceAccountToken: false", "automountServiceAccountToken: true"),
            ("base/actors.yml", "serviceAccountName: impala-actor", "serviceAccountName: default"),
            ("base/learner.yml", "      enableServiceLinks: false\n", ""),
        ],
    );
}

/// What `k8s/impala.yml` holds is the base, byte by byte.
fn one_file_is_the_base(tree: &Tree) -> anyhow::Result<()> {
    let mut parts = Vec::new();
    for file in tree.base_files()? {
        parts.push(tree.text(&file)?.to_owned());
    }
    let (header, body) = tree.text("impala.yml")?.split_once('\n').context("k8s/impala.yml is empty")?;
    ensure!(header.starts_with("# "), "k8s/impala.yml says where it comes from");
    ensure!(
        body == parts.join("---\n"),
        "k8s/impala.yml is not what k8s/base/ says; run scripts/check-manifests.sh --write"
    );
    let deployments =
        tree.documents("impala.yml")?.iter().filter(|object| is(object, "Deployment", "impala-actor")).count();
    ensure!(deployments == 1, "k8s/impala.yml has {deployments} deployments");
    Ok(())
}

#[test]
fn the_one_file_is_the_base() {
    let changes = [("impala.yml", "replicas: 4", "replicas: 5"), ("base/learner.yml", "replicas: 1", "replicas: 2")];
    holds(one_file_is_the_base, &changes);
}
