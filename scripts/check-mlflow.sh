#!/usr/bin/env bash
# Runs told to a real MLflow server (from PyPI): one that is solved, one whose server is killed in the middle and comes back, the same
# resumed, and one without any server. What the server has is compared with what lies in the runs' directories, and its page is opened in a
# browser without a screen.
#
# Needs python3 with venv; MLflow (about 850 MB) and Playwright come from PyPI into IMPALA_TOOLS_DIR, by default target/mlflow, and are kept.
# The browser is the system's Chromium, which root on Debian gets installed, else Playwright's. Pictures of the pages are left in
# IMPALA_PICTURES_DIR, if that is given.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/browser-lib.sh

unset_settings IMPALA_TOOLS_DIR IMPALA_PICTURES_DIR
unset "${!MLFLOW_@}"
target=${CARGO_TARGET_DIR:-target}
browser_tools "${IMPALA_TOOLS_DIR:-$target/mlflow}" mlflow
cargo build --release --bin impala

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [[ -n ${IMPALA_PICTURES_DIR:-} ]]; then mkdir -p "$IMPALA_PICTURES_DIR"; fi
"$python" scripts/check-mlflow.py "$target/release/impala" "$work" ${IMPALA_PICTURES_DIR:+"$IMPALA_PICTURES_DIR"}
printf 'MLflow: all as it should be\n'
