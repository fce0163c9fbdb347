#!/usr/bin/env bash
# What a step of 64 environments takes through workers, and by gymnasium's own ways: median and mean of microseconds for each call, each
# way in turn, three times over. Stable-Baselines3's `SubprocVecEnv` is measured where the interpreter has it.
#
# Needs python3 with venv; `make check-gym` and this use the same tools. IMPALA_PYTHON names another interpreter.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/tools-lib.sh

unset_settings IMPALA_TOOLS_DIR IMPALA_PYTHON
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
if [[ -z ${IMPALA_PYTHON:-} ]]; then
    tools=$(realpath -m "${IMPALA_TOOLS_DIR:-$target/gym}")
    python_tools "$tools" 'gymnasium[classic-control,toy-text,box2d]==1.4.0' 'ruff==0.17.5'
    "$tools/venv/bin/pip" install --quiet --disable-pip-version-check --force-reinstall --no-deps ./python
    IMPALA_PYTHON=$tools/venv/bin/python
fi
export PYTHONPATH=$PWD/python/tests PYTHONDONTWRITEBYTECODE=1
cargo build --release -p impala-worker --example overhead

environments=64 seconds=${SECONDS_EACH:-4}
row() {
    local name=$1
    shift
    printf '%-52s %s\n' "$name" "$("$@")"
}
worker() { "$target/release/examples/overhead" "$IMPALA_PYTHON" "gym:$1" "$environments" "$2" "$seconds"; }
python() { "$IMPALA_PYTHON" scripts/measure-gym.py "$1" "$environments" "$seconds"; }
printf '%-52s %s\n' "step of $environments environments" 'median and mean, microseconds'
for _ in 1 2 3; do
    row 'nothing, in process' python null
    row 'nothing, 1 worker' worker null_environment:Null-v0 1
    row 'nothing, 2 workers' worker null_environment:Null-v0 2
    row 'CartPole-v1, in process, the bare loop' python loop
    row 'CartPole-v1, 1 worker' worker CartPole-v1 1
    row 'CartPole-v1, 2 workers' worker CartPole-v1 2
    row 'CartPole-v1, gymnasium SyncVectorEnv' python sync
    row 'CartPole-v1, gymnasium AsyncVectorEnv' python async
    if "$IMPALA_PYTHON" -c 'import stable_baselines3' 2>/dev/null; then row 'CartPole-v1, Stable-Baselines3 SubprocVecEnv' python sb3; fi
done
