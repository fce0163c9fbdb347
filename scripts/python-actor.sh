#!/usr/bin/env bash
# A learner of this project and actors in Python (examples/python-actor/actor.py), which know of it what the contract and
# docs/protocol.md say: together they must solve CartPole, no trajectory may be refused as invalid, every actor must end with the
# run, and what the manual says in numpy must play well with the model.
#
# Needs python3 with venv; the rest comes from PyPI into IMPALA_TOOLS_DIR, by default target/python-actor, and is kept.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/tools-lib.sh

unset_settings IMPALA_TOOLS_DIR
tools=${IMPALA_TOOLS_DIR:-target/python-actor}
# The actor's own, and what reads its model afterwards.
mapfile -t packages < <(sed 's/ *#.*//; /^$/d' examples/python-actor/requirements.txt)
python_tools "$tools" "${packages[@]}" safetensors
cargo build --release -p impala

program=${CARGO_TARGET_DIR:-target}/release/impala
work=$(mktemp -d)
learner=
clean_up() {
    if [[ -n $learner ]]; then kill "$learner" 2>/dev/null || true; fi
    rm -rf "$work"
}
trap clean_up EXIT

"$program" learner --quiet --listen 127.0.0.1:0 --frames-max 2000000 --time-max 5m --runs-dir "$work/runs" >"$work/summary" 2>"$work/log" &
learner=$!
for _ in {1..600}; do
    address=$(sed -n 's/.*address=\([0-9.:]*\).*/\1/p' "$work/log" | head -n 1)
    if [[ -n $address ]]; then break; fi
    kill -0 "$learner"
    sleep 0.1
done

pids=()
for flags in '' '--compressed'; do
    # shellcheck disable=SC2086
    timeout 330 "$tools/venv/bin/python" examples/python-actor/actor.py --learner "$address" $flags >"$work/actor-${#pids[@]}" 2>&1 &
    pids+=($!)
done

failed=0
wait "$learner" || failed=$?
learner=
for pid in "${pids[@]}"; do wait "$pid" || failed=$?; done
cat "$work/summary" "$work"/actor-*
if ((failed != 0)); then
    cat "$work/log" >&2
    printf 'FAILED: learner or actors ended with %d\n' "$failed" >&2
    exit 1
fi
grep -q '^result *solved' "$work/summary"
grep -q ', 0 invalid) + 0 lost' "$work/summary"
# What the manual says of model files is enough to play with one.
"$tools/venv/bin/python" scripts/check-model.py "$work"/runs/*/model.safetensors
