#!/usr/bin/env bash
# The JSON logs of real runs in a real collector: rsyslog from Debian with examples/logs/rsyslog.conf. See scripts/check-logs.py.
#
# Needs python3, and rsyslog or apt-get: without an rsyslog on this machine Debian's packages are unpacked into IMPALA_TOOLS_DIR, by default
# target/logs, and kept. Nothing is installed, and no service begins.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/tools-lib.sh

unset_settings IMPALA_TOOLS_DIR
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
tools=$(realpath -m "${IMPALA_TOOLS_DIR:-$target/logs}")
collector=$(PATH=$PATH:/usr/sbin command -v rsyslogd || true)
modules=()
if [[ -z $collector ]]; then
    collector=$tools/root/usr/sbin/rsyslogd
    if [[ ! -x $collector ]]; then
        rm -rf "$tools"
        mkdir -p "$tools/packages"
        # Whatever else it needs is on every Debian.
        download() (cd "$tools/packages" && apt-get download --quiet rsyslog libestr0 libfastjson4 liblognorm5)
        # An old list of packages names versions that are gone.
        download || { apt-get update --quiet && download; }
        for package in "$tools"/packages/*.deb; do dpkg --extract "$package" "$tools/root"; done
    fi
    libraries=("$tools"/root/usr/lib/*/rsyslog)
    modules=(-M "${libraries[0]}")
    export LD_LIBRARY_PATH=${libraries[0]%/rsyslog}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
fi
cargo build --release --bin impala
python3 scripts/check-logs.py "$target/release/impala" "$collector" "${modules[@]}"
printf 'logs: all as it should be\n'
