#!/usr/bin/env bash
# Metrics, alerts and dashboard with the real tools, and fails on the first finding:
#
#   every configuration and rule file of Prometheus in docker/ and k8s/ with promtool; the dashboard against the types of
#   @grafana/schema, with changes that must be found; `promtool check metrics` on a learner and an actor at work; a Prometheus that
#   scrapes them as compose and Kubernetes would, every query of the dashboard asked at it, and every alert rule loaded into it. A
#   library stands in for NVIDIA's driver.
#
# Needs python3 with venv and a C compiler; the rest comes from npm (and npm, where there is none, from PyPI) and, for Prometheus, Debian
# into IMPALA_TOOLS_DIR, by default target/monitoring, and is kept. Grafana itself is in none of these registries: it is not started.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/tools-lib.sh

unset_settings IMPALA_TOOLS_DIR
npm_packages=(@grafana/schema@13.2.3 typescript@5.9.3)
dashboard=k8s/components/monitoring/dashboard.json

target=${CARGO_TARGET_DIR:-target}
tools=${IMPALA_TOOLS_DIR:-$target/monitoring}
mkdir -p "$tools"
tools=$(cd "$tools" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Runs one check and tells whether it passed; its output is shown if not.
# The rules of a PrometheusRule, whose `spec` is its last key.
rules() { sed '1,/^spec:$/d; s/^  //' k8s/components/monitoring/alerts.yml; }

# The dashboard and its broken copies as TypeScript; an error in the one and a copy without an error are both failures.
dashboard_has_the_types() {
    cp scripts/dashboard-schema.d.ts "$tools/npm/" && rm -f "$tools"/npm/{dashboard,broken-*}.ts &&
        python3 scripts/check-dashboard.py "$dashboard" "$tools/npm" || return
    (cd "$tools/npm" && npx --no-install tsc --noEmit --strict --module nodenext --target es2022 ./*.ts) >"$work/tsc.log"
    if grep '^dashboard' "$work/tsc.log"; then return 1; fi
    local file
    for file in "$tools"/npm/broken-*.ts; do
        grep -q "^$(basename "$file")" "$work/tsc.log" || { printf '%s: tsc finds nothing wrong\n' "$file"; return 1; }
    done
}

check 'tools of npm' npm_tools "$tools/npm" "${npm_packages[@]}"
check 'Prometheus' prometheus_tools "$tools/prometheus"
rules >"$work/rules.yml"
check 'promtool check config docker/prometheus.yml' promtool check config docker/prometheus.yml
check 'promtool check rules, of k8s/components/monitoring/alerts.yml' promtool check rules "$work/rules.yml"
check 'the dashboard has the types of @grafana/schema, and broken ones do not' dashboard_has_the_types
check 'a library that stands in for NVML' cc -shared -fPIC -o "$work/libnvidia-ml.so.1" scripts/nvml-stand-in.c
cargo build --release --bin impala
python3 scripts/check-monitoring.py "$target/release/impala" "$dashboard" "$work/rules.yml" "$work"
printf 'monitoring: all as it should be\n'
