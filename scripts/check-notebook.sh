#!/usr/bin/env bash
# Executes examples/notebook/train.ipynb as a person would, in a directory of its own, and looks at what it shows. With --write the executed
# notebook takes the place of the committed one, with its outputs.
#
# Needs python3 with venv; nbconvert, pandas and what they need come from PyPI into IMPALA_TOOLS_DIR, by default target/notebook,
# and are kept.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/tools-lib.sh

unset_settings IMPALA_TOOLS_DIR
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
tools=$(realpath -m "${IMPALA_TOOLS_DIR:-$target/notebook}")
python_tools "$tools" nbconvert ipykernel pandas matplotlib lxml
cargo build --release --bin impala

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
notebook=examples/notebook/train.ipynb
cp "$notebook" "$work/train.ipynb"
# A kernel of this installation, whatever others there are. Without times and ids in the file it is the same but for what was measured.
PATH=$tools/venv/bin:$PATH PROGRAM=$target/release/impala JUPYTER_PLATFORM_DIRS=1 "$tools/venv/bin/jupyter-nbconvert" --log-level WARN \
    --execute --ExecutePreprocessor.record_timing=False --ExecutePreprocessor.timeout=120 --to notebook --output done.ipynb "$work/train.ipynb"
"$tools/venv/bin/python" scripts/check-notebook.py "$notebook" "$work/done.ipynb"
# Only what passed.
if [[ ${1:-} == --write ]]; then cp "$work/done.ipynb" "$notebook"; fi
printf 'notebook: all as it should be\n'
