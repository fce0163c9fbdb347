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

# `python_tools DIRECTORY PACKAGE...`: a Python with these packages of PyPI in the directory, where it is kept as long as they are the same.
python_tools() {
    local tools=$1
    shift
    if [[ "$*" == "$(cat "$tools/stamp" 2>/dev/null)" ]]; then return; fi
    rm -rf "$tools"
    mkdir -p "$tools"
    python3 -m venv "$tools/venv"
    "$tools/venv/bin/pip" install --quiet --disable-pip-version-check "$@"
    printf '%s\n' "$*" >"$tools/stamp"
}
