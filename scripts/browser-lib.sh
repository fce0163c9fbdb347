# Sourced by checks that open pages in a browser without a screen. `browser_tools DIRECTORY PACKAGE...` puts a Python with Playwright and
# those packages of PyPI into the directory, where it is kept, and sets `python` and BROWSER_PATH. The browser is the system's Chromium,
# which root on Debian gets installed, else Playwright's.

. scripts/tools-lib.sh

browser_tools() {
    local tools=$1
    shift
    python_tools "$tools" playwright "$@"
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
