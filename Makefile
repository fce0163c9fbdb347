# Shorthands; everything also works as the plain command behind it.
.PHONY: build test lint ci check-gpu check-manifests check-object-store bench-gpu documents ladder peers seeds deny docker-setup docker-test netns-test scaling-test python-actor check-tensorboard check-web check-monitoring check-logs check-notebook check-mlflow check-gym check-own-environment measure-gym measure-environments

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

# The Kubernetes manifests as far as they can be checked without a cluster; fetches its tools the first time.
check-manifests:
	scripts/check-manifests.sh

# Frames/s of the learner step by width and batch on every device, and PyTorch's beside it.
bench-gpu:
	scripts/bench-gpu.sh

# Every path measured side by side, from the parts alone to whole runs; about five minutes.
ladder: build
	cargo run --release -p impala-benches --bin ladder

# Writes the tables of settings and metrics in docs/ anew from the code.
documents:
	cargo run --release -p impala-benches --bin documents

# Every figure of two commits in alternating pairs: BEFORE names a directory with the programs of the commit before.
pairs: build
	cargo run --release -p impala-benches --bin pairs -- --before $(BEFORE)

# Compares with other systems on this machine; downloads about 4 GB the first time. `benches/peers/compare --help` says the rest.
peers:
	benches/peers/compare

# Trains 20 seeds with the real `impala train` and prints the table.
seeds: build
	cargo run --release -p impala-benches --bin seeds --

# Checkpoints in a real S3-compatible server on loopback; needs Python 3.
check-object-store:
	scripts/check-object-store.sh

# Actors in Python, written from docs/protocol.md alone, solve CartPole with a learner; needs Python 3.
python-actor:
	scripts/python-actor.sh

# Event files of real runs in the real TensorBoard, and its pages in a browser; needs Python 3 and Chromium, or root on Debian.
check-tensorboard:
	scripts/check-tensorboard.sh

# Runs told to a real MLflow server, which is killed and comes back, and its pages in a browser; needs Python 3 and Chromium, or root on Debian.
check-mlflow:
	scripts/check-mlflow.sh

# The live view in a real browser without a screen.
check-web:
	scripts/check-web.sh

# Metrics, alerts and the dashboard with the real promtool, Prometheus and Grafana's types; fetches its tools the first time.
check-monitoring:
	scripts/check-monitoring.sh

# JSON logs of real runs in the real rsyslog; needs Python 3 and apt-get, or an rsyslog on this machine.
check-logs:
	scripts/check-logs.sh

# The example notebook, executed; needs Python 3.
check-notebook:
	scripts/check-notebook.sh

# Environments of gymnasium through workers, compared with gymnasium in process; needs Python 3.
check-gym:
	scripts/check-gym.sh

# An environment of one's own as the manual has it: a new crate of the page's code, trained and evaluated by the page's commands.
check-own-environment:
	scripts/check-own-environment.sh

# What a step through workers takes, beside gymnasium's own ways; about two minutes, on a machine that does nothing else.
measure-gym:
	scripts/measure-gym.sh

# Frames and seconds to the goals of several environments, stable-baselines3 beside; downloads 5 GB the first time and takes an hour.
measure-environments:
	scripts/measure-environments.sh

# Needs `cargo install cargo-deny`.
deny:
	cargo deny --locked check licenses bans sources

# Docker with compose on a Debian machine, and base images where no registry answers. Needs root for what is missing.
docker-setup:
	scripts/docker-setup.sh

# Builds the images, trains with compose, breaks containers and network, prints the table of faults. Needs root.
docker-test:
	scripts/docker-test.sh

# The same faults for plain processes in network namespaces. Needs root.
netns-test:
	scripts/netns-test.sh

# Actors from 2 to 64 to 1 and back while a run goes on, half of them killed; then a slow, a lossy and a distant one. Needs root.
scaling-test:
	scripts/scaling-test.sh
