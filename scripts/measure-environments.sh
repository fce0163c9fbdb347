#!/usr/bin/env bash
# Frames and seconds that environments take to their goals, here and by stable-baselines3 beside it: a table. An hour or more.
# Arguments go to benches/environments/measure.py, whose --help names them.
#
# Needs python3 with venv; gymnasium and stable-baselines3 with PyTorch come from PyPI (5 GB) into IMPALA_TOOLS_DIR, by default
# target/environments, and are kept.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/tools-lib.sh

unset_settings IMPALA_TOOLS_DIR
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
tools=$(realpath -m "${IMPALA_TOOLS_DIR:-$target/environments}")
python_tools "$tools" 'gymnasium[classic-control,box2d]==1.4.0' stable-baselines3==2.9.2
"$tools/venv/bin/pip" install --quiet --disable-pip-version-check --force-reinstall --no-deps ./python
cargo build --release -p impala
exec "$tools/venv/bin/python" benches/environments/measure.py --program "$target/release/impala" "$@"
