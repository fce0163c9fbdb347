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
printf 'gymnasium: all as it should be\n'
