#!/usr/bin/env bash
# The learner step by width of the network and size of the batch, on every device present, and the same step in PyTorch on
# the same GPU: prints both tables and leaves them, with JSON, in the directory that OUT names (default bench-gpu/).
#
#   scripts/bench-gpu.sh build             builds the stripped program only, for a machine without a Rust toolchain; prints
#                                          its path. It needs libc, the Vulkan loader and the GPU's driver, nothing else
#   scripts/bench-gpu.sh [-- FLAG..]       builds if need be and runs; only flags that both programs know
#   WIDTHS=path scripts/bench-gpu.sh ..    runs a program that was built elsewhere
#
# Building the GPU backend takes 25 to 45 minutes on 2 cores. Build outputs go to CARGO_TARGET_DIR if it is set.
# PYTHON names the interpreter that has PyTorch (default python3); without PyTorch that half is left out, and said so.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Mesa's device-select layer complains where there is no desktop session.
export NODEVICE_SELECT=1
python=${PYTHON:-python3}
out=${OUT:-bench-gpu}

build() {
    cargo build --release -p impala-benches --features wgpu --bin widths >&2
    local built=${CARGO_TARGET_DIR:-target}/release/widths
    strip -o "$built-stripped" "$built"
    printf '%s\n' "$built-stripped"
}

if [[ ${1:-} == build ]]; then
    build
    exit
fi
if [[ ${1:-} == -- ]]; then shift; fi

widths=${WIDTHS:-}
if [[ -z $widths ]]; then widths=$(build); fi
mkdir -p "$out"
{
    date --utc +%Y-%m-%d
    uname -srm
    grep -m 1 'model name' /proc/cpuinfo || true
    nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null || printf 'no nvidia-smi\n'
} | tee "$out/machine.txt"

"$widths" --json "$out/widths.json" "$@" | tee "$out/widths.md"

if ! "$python" -c 'import torch' 2>/dev/null; then
    printf '\n%s has no PyTorch: its half is left out\n' "$python" | tee "$out/pytorch.md"
    exit
fi
: >"$out/pytorch.md"
if "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    for mode in eager compile tf32; do
        flag=()
        if [[ $mode != eager ]]; then flag=("--$mode"); fi
        "$python" benches/pytorch/step.py "${flag[@]}" --json "$out/pytorch-$mode.json" "$@" | tee -a "$out/pytorch.md"
    done
else
    "$python" benches/pytorch/step.py --device cpu --json "$out/pytorch-cpu.json" "$@" | tee -a "$out/pytorch.md"
fi
