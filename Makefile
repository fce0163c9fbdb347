# Shorthands; everything also works as the plain command behind it.
.PHONY: build test lint ci check-gpu seeds deny

build:
	cargo build --release --workspace

test:
	cargo test --release --workspace

lint:
	cargo fmt --all --check && cargo clippy --workspace --all-targets -- -D warnings

ci:
	.ci/run

# One learner step on the GPU backend against the CPU's; builds the feature `wgpu`, which takes long.
check-gpu:
	scripts/check-gpu.sh

# Trains 20 seeds with the real `impala train` and prints the table.
seeds: build
	cargo run --release -p impala-benches --bin seeds --

# Needs `cargo install cargo-deny`.
deny:
	cargo deny --locked check licenses bans sources
