#!/usr/bin/env bash
# Checkpoints in a real S3-compatible server (moto, from PyPI, on loopback): a run that is killed goes on from its bucket, a
# damaged object is passed over, a bucket is in the hands of one process at a time, and a server that goes away does not stop the
# training. Needs Python 3 and curl.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/tools-lib.sh

tools=${CARGO_TARGET_DIR:-target}/object-store
python_tools "$tools" 'moto[server]' safetensors numpy
venv=$tools/venv
cargo build --release --bin impala
impala=${CARGO_TARGET_DIR:-target}/release/impala

work=$(mktemp -d)
server= training=
end() {
    for pid in $training $server; do kill -KILL "$pid" 2>/dev/null || true; done
    rm -rf "$work"
}
trap end EXIT
trap 'printf "error: line %s failed\n" "$LINENO" >&2' ERR

fail() {
    printf 'error: %s\n' "$*" >&2
    cat "$work"/*.txt >&2 || true
    exit 1
}

# Runs a command until it succeeds, at most a minute.
until_true() {
    for _ in $(seq 600); do
        if "$@" >/dev/null 2>&1; then return; fi
        sleep 0.1
    done
    fail "waited in vain for: $*"
}

port=$("$venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
endpoint=http://127.0.0.1:$port
"$venv/bin/moto_server" -H 127.0.0.1 -p "$port" >"$work/server.txt" 2>&1 &
server=$!
until_true curl -sf "$endpoint/"
curl -sf -X PUT "$endpoint/bucket" >/dev/null

export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_REGION=us-east-1 AWS_ENDPOINT=$endpoint AWS_ALLOW_HTTP=true
store=s3://bucket/runs/one
endless=(--solved-return 501 --frames-max 1000000000 --checkpoint-every 100 --checkpoint-interval 0.01 --checkpoint-store "$store")

objects() { curl -sf "$endpoint/bucket?list-type=2&prefix=runs/${1:-one}/update-" | grep -o 'update-[0-9]*.safetensors' | sort; }
has_three() { [[ $(objects | wc -l) -ge 3 ]]; }
has_second() { [[ $(objects two | wc -l) -ge 1 ]]; }

"$impala" train --quiet --actors 2 --runs-dir "$work/runs" "${endless[@]}" >"$work/first.txt" 2>&1 &
training=$!
until_true has_three
kill -KILL $training
wait $training 2>/dev/null || true
training=
newest=$(objects | tail -1)
printf 'killed with %s checkpoints in the bucket, the newest %s\n' "$(objects | wc -l)" "$newest"

# Another machine would have the URL and nothing else.
curl -sf -X PUT --data-binary 'half a checkpoint' "$endpoint/bucket/runs/one/update-999999999999.safetensors" >/dev/null
"$impala" train --resume "$store" --runs-dir "$work/other" --solved-return 475 --frames-max 2000000 >"$work/second.txt" 2>&1 ||
    fail "the resumed run was not solved"
grep -q 'passed over a newer checkpoint: update-999999999999.safetensors: it is damaged' "$work/second.txt" || fail 'the damaged object was not named'
grep -q "^resumed       after update" "$work/second.txt" || fail 'the run was begun anew'
grep -q ' 0 in flight' "$work/second.txt" || fail 'the account does not close'
grep -E '^(resumed|result|trained|trajectories|checkpoints)' "$work/second.txt"

# What is in the bucket is a plain safetensors file.
"$venv/bin/python" -c 'import boto3, sys
boto3.client("s3", endpoint_url=sys.argv[1]).download_file("bucket", "runs/one/best.safetensors", sys.argv[2])' \
    "$endpoint" "$work/best.safetensors"
"$venv/bin/python" scripts/read-checkpoint.py "$work/best.safetensors" | tail -1

# A large network: its checkpoints go in parts.
large=(--hidden 2048,2048 --environments-per-actor 2 --unroll-length 5 --actors 1 --solved-return 501 --checkpoint-store s3://bucket/runs/large)
"$impala" train --quiet --runs-dir "$work/runs" "${large[@]}" --time-max 8 >"$work/large.txt" 2>&1 || (($? == 3)) || fail 'a large network was not trained'
"$impala" train --quiet --runs-dir "$work/runs" "${large[@]}" --time-max 16 >"$work/large-again.txt" 2>&1 || (($? == 3)) || fail 'a large network was not resumed'
grep -q "^resumed       after update" "$work/large-again.txt" || fail 'a large checkpoint was not found'
grep -E '^(resumed|checkpoints)' "$work/large-again.txt"

# One process at a time: a second one is refused and told by whom; one of the same name takes over at once, and the first ends with a
# sentence. A run that another one took over while it stood still writes nothing any more.
owned=("${endless[@]/runs\/one/runs/owned}")
# The first is from before any update.
owned_has_two() { [[ $(objects owned | wc -l) -ge 2 ]]; }
"$impala" train --quiet --actors 1 --runs-dir "$work/runs" "${owned[@]}" --checkpoint-owner pod-0 >"$work/owner.txt" 2>&1 &
training=$!
until_true owned_has_two
kill -STOP $training
if "$impala" train --quiet --actors 1 --runs-dir "$work/runs" "${owned[@]}" --checkpoint-owner pod-1 --time-max 1 >"$work/refused.txt" 2>&1; then
    fail 'a bucket was taken from a process that had shown a sign of life, within the time that it has'
fi &
refused=$!
sleep 3
kill -CONT $training
wait $refused || fail 'a second process was not refused'
grep -q 'runs/owned is in use by pod-0 (process ' "$work/refused.txt" || fail 'the second process was not told who is there'
kill -STOP $training
SECONDS=0
"$impala" train --quiet --actors 1 --runs-dir "$work/runs" "${owned[@]}" --checkpoint-owner pod-0 --time-max 2 >"$work/successor.txt" 2>&1 || true
((SECONDS < 10)) || fail "a successor of the same name took $SECONDS s"
grep -q '^resumed       after update' "$work/successor.txt" || fail 'the successor began anew'
before=$(objects owned | tail -1)
kill -CONT $training
if wait $training; then fail 'a run whose bucket was taken over ended as if nothing was'; fi
training=
grep -q 'was taken over by pod-0 (process ' "$work/owner.txt" || fail 'it did not say why it ended'
[[ $(objects owned | tail -1) == "$before" ]] || fail 'it wrote a checkpoint all the same'
printf 'one process at a time: %s\n' "$(grep -o 'was taken over by.*' "$work/owner.txt" | head -1)"

# A store that goes away in the middle.
"$impala" train --quiet --actors 2 --runs-dir "$work/runs" "${endless[@]/runs\/one/runs/two}" --time-max 25 >"$work/third.txt" 2>&1 &
training=$!
until_true has_second
kill -KILL $server
wait $server 2>/dev/null || true
server=
wait $training || true
training=
grep -q 'FAILED, at last: cannot write' "$work/third.txt" || fail 'the failed writes were not reported'
grep -q '^result        not solved: the time budget ended' "$work/third.txt" || fail 'the training did not go on to its end'
grep -E '^(result|checkpoints)' "$work/third.txt"
printf 'object store: all as it should be\n'
