#!/usr/bin/env bash
# The live view in a real browser without a screen: what the page says is what metrics and status say, also of a learner that was killed
# and started again; themes, a phone, keys, how the page grows, and a thousand actors. See scripts/check-web.py.
#
# Needs python3 with venv; Playwright comes from PyPI into IMPALA_TOOLS_DIR, by default target/web, and is kept. Pictures of the page are
# left in IMPALA_PICTURES_DIR, if that is given.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/browser-lib.sh

unset_settings IMPALA_TOOLS_DIR IMPALA_PICTURES_DIR
target=${CARGO_TARGET_DIR:-target}
browser_tools "${IMPALA_TOOLS_DIR:-$target/web}"
cargo build --release --bin impala --bin crowd --package impala --package impala-benches
if [[ -n ${IMPALA_PICTURES_DIR:-} ]]; then mkdir -p "$IMPALA_PICTURES_DIR"; fi
"$python" scripts/check-web.py "$target/release/impala" "$target/release/crowd" ${IMPALA_PICTURES_DIR:+"$IMPALA_PICTURES_DIR"}
printf 'live view: all as it should be\n'
