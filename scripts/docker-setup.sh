#!/usr/bin/env bash
# Makes a Debian machine able to build and run the images: Docker Engine, its compose and buildx plugins, a running daemon, and
# base images. What is there already is left as it is, so that it can run as often as one likes. Needs root for what is missing.
#
# Where no registry answers, it makes stand-ins for the two base images with debootstrap, from the machine's own Debian mirror
# and Rust toolchain, and writes docker/.env, which compose reads, so that builds use them and this machine's CA bundle.
#
#   scripts/docker-setup.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Suite of the base images, and the newer one whose plugins are taken where the machine's own suite has none of version 2.
readonly SUITE=bookworm PLUGIN_SUITE=trixie
readonly BUILDER_IMAGE=rust:1.95-slim-bookworm RUNTIME_IMAGE=debian:bookworm-slim
readonly BUILDER_STANDIN=impala-standin-rust:bookworm RUNTIME_STANDIN=impala-standin-debian:bookworm
readonly PLUGIN_DIR=/usr/local/lib/docker/cli-plugins
readonly DAEMON_LOG=/var/log/impala-dockerd.log
# Longest wait for a registry; one that answers at all answers within seconds, and the rest is download.
readonly PULL_TIME_MAX=300

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say() { printf 'docker-setup: %s\n' "$*" >&2; }
fail() {
    say "error: $*"
    exit 1
}

apt_install() {
    [[ $EUID -eq 0 ]] || fail "missing packages ($*): run this as root, or install them"
    say "installing $*"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >"$work/apt.log" 2>&1 ||
        { cat "$work/apt.log" >&2; fail "apt-get could not install $*"; }
}

# The machine's own mirror of Debian.
debian_mirror() {
    local mirror
    mirror=$(apt-get indextargets --format "\$(REPO_URI)" | grep -m 1 '/debian/\?$' || true)
    printf '%s\n' "${mirror:-http://deb.debian.org/debian}"
}

# Unpacks a plugin of the newer suite beside the machine's own packages: they are single files that need nothing but libc.
unpack_plugin() {
    local name=$1
    local -a other=(-o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o "Dir::State::Lists=$work/lists" -o APT::Sandbox::User=root)
    if [[ ! -e $work/sources.list ]]; then
        mkdir -p "$work/lists/partial"
        printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' \
            "$(debian_mirror)" "$PLUGIN_SUITE" >"$work/sources.list"
        apt-get "${other[@]}" update -qq
    fi
    say "unpacking $name of $PLUGIN_SUITE into $PLUGIN_DIR"
    (cd "$work" && apt-get "${other[@]}" download -qq "$name" && dpkg -x "$name"_*.deb unpacked)
    install -D -m 755 "$work/unpacked/usr/libexec/docker/cli-plugins/$name" "$PLUGIN_DIR/$name"
}

install_docker() {
    local missing=() tool package
    for tool in dockerd:docker.io iptables:iptables curl:curl; do
        package=${tool#*:}
        command -v "${tool%%:*}" >/dev/null || missing+=("$package")
    done
    # A daemon that answers may be another machine's or a desktop's; then none is needed here.
    if docker info >/dev/null 2>&1; then missing=("${missing[@]/docker.io/}"); missing=("${missing[@]/iptables/}"); fi
    # shellcheck disable=SC2206 # drops the names emptied above
    missing=(${missing[@]})
    if ((${#missing[@]} > 0)); then apt_install "${missing[@]}"; fi
    # Version 1 of compose is another program, without an underscore between them: it does not answer to this.
    docker compose version >/dev/null 2>&1 || unpack_plugin docker-compose
    docker buildx version >/dev/null 2>&1 || unpack_plugin docker-buildx
}

start_daemon() {
    if docker info >/dev/null 2>&1; then return; fi
    [[ $EUID -eq 0 ]] || fail "no docker daemon answers: start it, or run this as root"
    say "starting dockerd, log in $DAEMON_LOG"
    setsid nohup dockerd >"$DAEMON_LOG" 2>&1 </dev/null &
    for _ in {1..60}; do
        if docker info >/dev/null 2>&1; then return; fi
        sleep 1
    done
    tail -n 20 "$DAEMON_LOG" >&2
    fail "dockerd does not answer after 60 s"
}

has_image() { docker image inspect "$1" >/dev/null 2>&1; }
can_pull() {
    say "pulling $1"
    timeout "$PULL_TIME_MAX" docker pull -q "$1" >/dev/null 2>"$work/pull.log"
}

make_runtime_standin() {
    if [[ -d $work/root ]]; then return; fi
    command -v debootstrap >/dev/null || apt_install debootstrap
    [[ $EUID -eq 0 ]] || fail "debootstrap needs root"
    say "making $RUNTIME_STANDIN with debootstrap, about a minute"
    debootstrap --variant=minbase --include=ca-certificates "$SUITE" "$work/root" "$(debian_mirror)" >"$work/debootstrap.log" ||
        { tail "$work/debootstrap.log" >&2; fail "debootstrap failed"; }
    rm -rf "$work"/root/var/cache/apt/archives/*.deb "$work"/root/var/lib/apt/lists/*
    tar -C "$work/root" -c . | docker import -c 'CMD ["bash"]' - "$RUNTIME_STANDIN" >/dev/null
}

# The C compiler from Debian, the toolchain from this machine: rustc and cargo find their files from their own place.
make_builder_standin() {
    local sysroot
    command -v rustc >/dev/null || fail "no Rust toolchain to put into the stand-in: install rustup (https://rustup.rs)"
    sysroot=$(rustc --print sysroot)
    make_runtime_standin
    say "making $BUILDER_STANDIN with $("$sysroot/bin/rustc" --version)"
    chroot "$work/root" apt-get update -qq
    DEBIAN_FRONTEND=noninteractive chroot "$work/root" apt-get install -y -qq --no-install-recommends gcc libc6-dev \
        >"$work/apt.log" 2>&1 || { cat "$work/apt.log" >&2; fail "cannot install a C compiler in the stand-in"; }
    rm -rf "$work"/root/var/cache/apt/archives/*.deb "$work"/root/var/lib/apt/lists/*
    local toolchain=/usr/local/rustup/toolchains/standin
    mkdir -p "$work/root$toolchain" "$work/root/usr/local/cargo/bin"
    tar -C "$sysroot" --exclude=lib/rustlib/src --exclude=share -c bin/cargo bin/rustc lib | tar -C "$work/root$toolchain" -x
    ln -s "$toolchain/bin/cargo" "$toolchain/bin/rustc" "$work/root/usr/local/cargo/bin/"
    tar -C "$work/root" -c . | docker import -c 'CMD ["bash"]' -c 'ENV CARGO_HOME=/usr/local/cargo' \
        -c 'ENV PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' - "$BUILDER_STANDIN" \
        >/dev/null
}

# Says which image to build from: the real one, or a stand-in that is made if need be.
choose_base() {
    local real=$1 standin=$2 make=$3
    if has_image "$real"; then chosen=$real; return; fi
    if ! has_image "$standin"; then
        if can_pull "$real"; then chosen=$real; return; fi
        say "no registry has $real for us: $(tail -n 1 "$work/pull.log")"
        "$make"
    fi
    chosen=$standin
}

# Only its own lines: the file may hold settings of a person.
write_settings() {
    local ca=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
    local own='^(# The next lines|IMPALA_(BUILDER_IMAGE|(GPU|GYM)_RUNTIME_IMAGE|BUILD_CA)=)'
    {
        if [[ -e docker/.env ]]; then grep -Ev "$own" docker/.env || true; fi
        printf '# The next lines are of scripts/docker-setup.sh, which writes them anew.\n'
        printf 'IMPALA_BUILDER_IMAGE=%s\n' "$builder"
        printf 'IMPALA_%s_RUNTIME_IMAGE=%s\n' GPU "$runtime" GYM "$runtime"
        if [[ -s $ca ]]; then printf 'IMPALA_BUILD_CA=%s\n' "$ca"; fi
    } >"$work/env"
    cp "$work/env" docker/.env
}

install_docker
start_daemon
chosen=
choose_base "$RUNTIME_IMAGE" "$RUNTIME_STANDIN" make_runtime_standin
runtime=$chosen
choose_base "$BUILDER_IMAGE" "$BUILDER_STANDIN" make_builder_standin
builder=$chosen
write_settings
say "ready: $(docker version --format 'engine {{.Server.Version}}'), compose $(docker compose version --short), builder $builder"
