#!/usr/bin/env bash
# The way of a stranger, as docs/how-to/own-environment.md has it: a new crate of the page's code, built against the project by path,
# trained and evaluated by the page's commands. Needs no network: it builds with the project's Cargo.lock and into its directory.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/tools-lib.sh

unset_settings
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
page=$PWD/docs/how-to/own-environment.md
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT

# A block of the page, by the comment before it.
block() {
    sed -n "/^<!-- $1 -->\$/,/^\`\`\`\$/p" "$page" | sed '1,/^```[a-z]*$/d; /^```$/d' | grep . || {
        echo "$page has no block '$1'" >&2
        return 1
    }
}

cargo build --release --locked -p impala
cargo new --quiet --vcs none "$room/treasure"
sed -i '/^\[dependencies\]$/d' "$room/treasure/Cargo.toml"
block 'toml: Cargo.toml' | sed "s|\"\.\./impala/|\"$PWD/|" >>"$room/treasure/Cargo.toml"
block 'rust: src\/main.rs' >"$room/treasure/src/main.rs"
block 'sh: train' >"$room/train.sh"
grep --quiet 'Ok(impala_actor::program::main' "$room/treasure/src/main.rs"
cp Cargo.lock "$room/treasure/"
# What both need is compiled once.
ln -s "$target" "$room/treasure/target"

cd "$room/treasure"
export CARGO_TARGET_DIR=target CARGO_NET_OFFLINE=true PATH=$target/release:$PATH IMPALA_TIME_MAX=5m
sh -eux ../train.sh
# Neither the run nor its policy names the program.
if grep --recursive --files-with-matches 'release/treasure' treasure-run; then
    echo 'the run names the program' >&2
    exit 1
fi
if impala eval treasure-run >../refused 2>&1; then
    echo 'a policy was evaluated in an environment that nobody named a program for' >&2
    exit 1
fi
grep --quiet 'name that too, by --actor-program' ../refused || { cat ../refused >&2; exit 1; }
printf 'own environment: all as it should be\n'
