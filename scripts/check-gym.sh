#!/usr/bin/env bash
# Environments of gymnasium through workers: the Python package's own tests, and rollouts through workers which must equal, to the
# bit, those that gymnasium makes in process. Whatever is wrong with an environment must be told in a sentence.
#
# Needs python3 with venv; gymnasium and what its environments need come from PyPI into IMPALA_TOOLS_DIR, by default target/gym, and
# are kept.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/tools-lib.sh

unset_settings IMPALA_TOOLS_DIR
tools=$(realpath -m "${IMPALA_TOOLS_DIR:-${CARGO_TARGET_DIR:-target}/gym}")
python_tools "$tools" 'gymnasium[classic-control,toy-text,box2d]==1.4.0' 'ruff==0.17.5'
# The package as a person installs it, anew each time: it is what is tested.
"$tools/venv/bin/pip" install --quiet --disable-pip-version-check --force-reinstall --no-deps ./python

export IMPALA_PYTHON=$tools/venv/bin/python PYTHONPATH=$PWD/python/tests PYTHONDONTWRITEBYTECODE=1
"$tools/venv/bin/ruff" check --no-cache python
"$tools/venv/bin/ruff" format --check --no-cache python
"$IMPALA_PYTHON" -m unittest discover --start-directory python/tests
cargo test --release -p impala-worker --test gymnasium -- --include-ignored
# What the manual's page says, with the module that stands there, and an environment that there is in Rust too.
cargo build --release -p impala
impala=$(realpath "${CARGO_TARGET_DIR:-target}/release/impala")
page=docs/how-to/gymnasium.md
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
sed -n '/^<!-- python: guess.py -->$/,/^```$/p' "$page" | sed '1,/^```python$/d; /^```$/d' >"$room/guess.py"
grep --quiet 'gymnasium.register("Guess-v0"' "$room/guess.py" || { echo "$page has no module guess.py" >&2; exit 1; }
cd "$room"
for environment in gym:guess:Guess-v0 gym:CartPole-v1; do
    "$impala" train --quiet --environment "$environment" --run-dir "$room/run-${environment//:/-}" --time-max 5m --frames-max 3000000
done
"$impala" eval "$room/run-gym-CartPole-v1" --require-return 475
# What gymnasium itself draws.
"$impala" render "$room/run-gym-CartPole-v1" --steps-max 50 --out "$room/episode.gif"
head -c 6 "$room/episode.gif" | grep --quiet GIF89a
# A policy's word does not make Python import a module; that of the command line does.
if "$impala" eval "$room/run-gym-guess-Guess-v0" >"$room/refused" 2>&1; then
    echo 'a module was imported on the word of a policy' >&2
    exit 1
fi
grep --quiet 'imports the Python module guess' "$room/refused" || { cat "$room/refused" >&2; exit 1; }
"$impala" eval "$room/run-gym-guess-Guess-v0" --environment gym:guess:Guess-v0 --require-return 19
printf 'gymnasium: all as it should be\n'
