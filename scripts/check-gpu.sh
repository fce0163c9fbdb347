#!/usr/bin/env bash
# Shows that a learner step on the GPU backend gives the CPU's losses, gradient and parameters, for all kinds of networks,
# optimisers and V-trace's clipping, and V-trace the reference's numbers. Takes the Vulkan adapter that
# is there, or installs Debian's software adapter (lavapipe) if there is none and this is root on a machine with apt-get.
#
# Building the feature `wgpu` takes 25 to 45 minutes on 2 cores; a software adapter then compiles shaders for minutes.
# Build outputs go to CARGO_TARGET_DIR if it is set.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Mesa's device-select layer complains where there is no desktop session.
export NODEVICE_SELECT=1

# Longest time for the test itself, after the build.
readonly TEST_TIME_MAX=30m
test_command=(cargo test --release -p impala-learner --features wgpu)
# The unit tests of the accelerator's step run on this device instead of the CPU backend.
export IMPALA_TEST_DEVICE=wgpu

has_adapter() {
    if command -v vulkaninfo >/dev/null; then
        # Not `grep -q`: it stops reading, and with `pipefail` the writer's SIGPIPE would look like a failure.
        vulkaninfo --summary 2>/dev/null | grep 'deviceName' >/dev/null
        return
    fi
    # Without the tool: a loader, and a driver that has told it of itself.
    ldconfig -p 2>/dev/null | grep 'libvulkan\.so\.1' >/dev/null || return
    compgen -G '/usr/share/vulkan/icd.d/*.json' >/dev/null || compgen -G '/etc/vulkan/icd.d/*.json' >/dev/null
}

install_software_adapter() {
    if ! command -v apt-get >/dev/null || [[ $(id -u) != 0 ]]; then
        printf 'no Vulkan adapter found; install one, e.g. as root: apt-get install mesa-vulkan-drivers libvulkan1\n' >&2
        return
    fi
    printf 'no Vulkan adapter found; installing the software adapter lavapipe\n'
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mesa-vulkan-drivers libvulkan1
}

if [[ $(uname -s) == Linux ]] && ! has_adapter; then
    install_software_adapter
fi

since=$SECONDS
"${test_command[@]}" --no-run --lib --test device_parity
printf 'built after %d s\n' "$((SECONDS - since))"

limit=()
if command -v timeout >/dev/null; then limit=(timeout "$TEST_TIME_MAX"); fi
since=$SECONDS
status=0
"${limit[@]}" "${test_command[@]}" --lib -- --nocapture step::device || status=$?
"${limit[@]}" "${test_command[@]}" --test device_parity -- --nocapture || status=$?
printf 'tested, exit status %d, after %d s\n' "$status" "$((SECONDS - since))"
exit "$status"
