#!/usr/bin/env bash
# Event files in the real TensorBoard (from PyPI): two runs of which one is killed and resumed; every tag is read and compared with
# metrics.csv, the page for hyperparameters with the summaries, and every page is opened in a browser without a screen.
#
# Needs python3 with venv; TensorBoard and Playwright come from PyPI into IMPALA_TOOLS_DIR, by default target/tensorboard, and are kept.
# The browser is the system's Chromium, which root on Debian gets installed, else Playwright's. Pictures of the pages are left in
# IMPALA_PICTURES_DIR, if that is given.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/browser-lib.sh

unset_settings IMPALA_TOOLS_DIR IMPALA_PICTURES_DIR
target=${CARGO_TARGET_DIR:-target}
tools=${IMPALA_TOOLS_DIR:-$target/tensorboard}
browser_tools "$tools" tensorboard numpy
cargo build --release --bin impala
impala=$target/release/impala

work=$(mktemp -d)
training=
end() {
    if [[ -n $training ]]; then kill -KILL "$training" 2>/dev/null || true; fi
    rm -rf "$work"
}
trap end EXIT

fail() {
    printf 'error: %s\n' "$*" >&2
    cat "$work"/*.txt >&2 || true
    exit 1
}

"$impala" train --quiet --runs-dir "$work/runs" --seed 1 >"$work/solved.txt" 2>&1 || fail 'the first run was not solved'

# Killed between two checkpoints, with rows after the newest, and resumed.
resumed=$work/runs/resumed
endless=(--solved-return 501 --frames-max 1000000000 --checkpoint-interval 3 --checkpoint-every 100)
"$impala" train --quiet --run-dir "$resumed" --seed 2 --learning-rate 0.001 "${endless[@]}" >"$work/killed.txt" 2>&1 &
training=$!
frames() { tail -n 1 "$resumed/metrics.csv" | cut -d, -f2; }
has_checkpoints() { (($(find "$resumed/checkpoints" -name 'update-*' | wc -l) >= 3)); }
has_later_rows() { (($(frames) > $1)); }
# Until a command succeeds, at most a minute.
until_true() {
    for _ in $(seq 600); do
        if "$@" 2>/dev/null; then return; fi
        sleep 0.1
    done
    fail "waited in vain for: $*"
}
until_true has_checkpoints
# The first later row may be of the moment of the checkpoint.
until_true has_later_rows "$(frames)"
until_true has_later_rows "$(frames)"
kill -KILL "$training"
wait "$training" 2>/dev/null || true
training=
killed_after=$(frames)
"$impala" train --quiet --run-dir "$resumed" --frames-max "$((killed_after + 1000000))" >"$work/resumed.txt" 2>&1 || (($? == 3)) ||
    fail 'the second run was not resumed'
grep -q '^resumed       after update' "$work/resumed.txt" || fail 'the second run began anew'
grep -E '^(result|resumed)' "$work/solved.txt" "$work/resumed.txt" | sed "s#$work/##"

if [[ -n ${IMPALA_PICTURES_DIR:-} ]]; then mkdir -p "$IMPALA_PICTURES_DIR"; fi
"$python" scripts/check-tensorboard.py "$work/runs" "$killed_after" ${IMPALA_PICTURES_DIR:+"$IMPALA_PICTURES_DIR"}
printf 'TensorBoard: all as it should be\n'
