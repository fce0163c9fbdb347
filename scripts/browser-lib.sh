# Sourced by checks that open pages in a browser without a screen. `browser_tools DIRECTORY PACKAGE...` puts a Python with Playwright and
# those packages of PyPI into the directory, where it is kept, and sets `python` and BROWSER_PATH. The browser is the system's Chromium,
# which root on Debian gets installed, else Playwright's.

browser_tools() {
    local tools=$1 packages
    shift
    packages="playwright $*"
    if [[ $packages != "$(cat "$tools/stamp" 2>/dev/null)" ]]; then
        rm -rf "$tools"
        mkdir -p "$tools"
        python3 -m venv "$tools/venv"
        # shellcheck disable=SC2086
        "$tools/venv/bin/pip" install --quiet --disable-pip-version-check $packages
        printf '%s\n' "$packages" >"$tools/stamp"
    fi
    # shellcheck disable=SC2034
    python=$tools/venv/bin/python
    BROWSER_PATH=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
    if [[ -z $BROWSER_PATH ]]; then
        if [[ $EUID -eq 0 ]] && command -v apt-get >/dev/null; then
            apt-get update --quiet
            DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes --no-install-recommends chromium
            BROWSER_PATH=$(command -v chromium)
        else
            "$tools/venv/bin/playwright" install chromium
        fi
    fi
    export BROWSER_PATH
}
