#!/usr/bin/env bash
# Executes examples/notebook/train.ipynb as a person would, in a directory of its own, and looks at what it shows. With --write the executed
# notebook takes the place of the committed one, with its outputs.
#
# Needs python3 with venv; nbconvert, pandas and what they need come from PyPI into IMPALA_TOOLS_DIR, by default target/notebook,
# and are kept.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

for name in "${!IMPALA_@}"; do
    case $name in IMPALA_TOOLS_DIR) ;; *) unset "$name" ;; esac
done
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
tools=$(realpath -m "${IMPALA_TOOLS_DIR:-$target/notebook}")
packages='nbconvert ipykernel pandas matplotlib lxml'
if [[ $packages != "$(cat "$tools/stamp" 2>/dev/null)" ]]; then
    rm -rf "$tools"
    mkdir -p "$tools"
    python3 -m venv "$tools/venv"
    # shellcheck disable=SC2086
    "$tools/venv/bin/pip" install --quiet --disable-pip-version-check $packages
    printf '%s\n' "$packages" >"$tools/stamp"
fi
cargo build --release --bin impala

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
notebook=examples/notebook/train.ipynb
cp "$notebook" "$work/train.ipynb"
# A kernel of this installation, whatever others there are. Without times and ids in the file it is the same but for what was measured.
PATH=$tools/venv/bin:$PATH PROGRAM=$target/release/impala JUPYTER_PLATFORM_DIRS=1 "$tools/venv/bin/jupyter-nbconvert" --log-level WARN \
    --execute --ExecutePreprocessor.record_timing=False --ExecutePreprocessor.timeout=120 --to notebook --output done.ipynb "$work/train.ipynb"
if [[ ${1:-} == --write ]]; then cp "$work/done.ipynb" "$notebook"; fi
"$tools/venv/bin/python" scripts/check-notebook.py "$notebook" "$work/done.ipynb"
printf 'notebook: all as it should be\n'
