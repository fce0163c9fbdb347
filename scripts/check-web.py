"""The live view in a browser without a screen; scripts/check-web.sh installs what it needs.

    BROWSER_PATH=/usr/bin/chromium python3 scripts/check-web.py IMPALA CROWD [PICTURES]

A learner and two actors of its own, on loopback: what the page says is compared with /metrics and `impala status`; the learner is killed and
started again while the page is open; the page is opened by light and dark, wide and on a phone. Then a learner with a thousand actors, which
CROWD runs in one process.
"""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import urllib.request

from playwright.sync_api import sync_playwright

from checks import check, free_port, until

# Without these the browser tells its memory in coarse steps, and rarely.
CHROMIUM = ["--no-sandbox", "--enable-precise-memory-info", "--js-flags=--expose-gc"]
# Of the page's own heap between two looks a minute of a busy run apart, bytes.
GROWTH_MAX = 3_000_000
# Actors of the large fleet.
CROWD = 1000
# Share of the time in which a page may be at work: more would be seen.
WORK_MAX = 0.5
# Of the whole page with all that it loads, bytes.
PAGE_MAX = 150_000


class Run:
    """A learner and its actors."""

    def __init__(self, impala, work, crowd=None):
        self.impala, self.work = impala, work
        self.grpc, self.http = free_port(), free_port()
        self.log = open(work / "learner.txt", "ab")
        learner = ["--learner", f"127.0.0.1:{self.grpc}"]
        if crowd:
            # What is to be seen is the page, not who gets the cores.
            commands = [["nice", "-n", "15", crowd, *learner, "--actors", str(CROWD)]]
        else:
            commands = [[impala, "actor", *learner, "--wait", "--name", f"actor-{index}"] for index in range(2)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.actors = [subprocess.Popen(command, **quiet) for command in commands]
        self.learner = None
        self.start()

    def start(self):
        endless = ["--solved-return", "501", "--frames-max", "1000000000000", "--time-max", "1h"]
        serving = ["--listen", f"127.0.0.1:{self.grpc}", "--metrics-listen", f"127.0.0.1:{self.http}"]
        # Slow enough that a number stands still while it is compared.
        pace = ["--eval-interval", "1", "--eval-episodes", "10", "--report-interval", "2"]
        command = [self.impala, "learner", "--quiet", "--run-dir", str(self.work / "run"), *endless, *serving, *pace]
        self.learner = subprocess.Popen(command, stdout=self.log, stderr=self.log)

    def kill(self):
        self.learner.send_signal(signal.SIGKILL)
        self.learner.wait()

    def end(self):
        for process in [self.learner, *self.actors]:
            process.kill()
            process.wait()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.http}/"

    def get(self, path):
        with urllib.request.urlopen(self.address + path, timeout=5) as answer:
            return answer.read().decode()

    def metrics(self):
        """Metrics without labels."""
        return {m[1]: float(m[2]) for m in re.finditer(r"^(\w+) ([-+.\deENa]+)$", self.get("metrics"), re.M)}

    def status(self):
        command = [self.impala, "status", "--json", "--learner", f"127.0.0.1:{self.grpc}"]
        return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def number(page, place):
    """A number of the page; None while there is none."""
    text = page.text_content(f"#{place}").replace("\u202f", "").replace("−", "-")
    return float(text) if re.fullmatch(r"-?[\d.]+", text) else None


def same_moment(run, page):
    """Page and metrics of the same report, as the frames tell, which only grow."""
    before = run.metrics()
    shown = {place: number(page, place) for place in ["frames", "mean", "actors", "lag", "account td"]}
    shown["produced"] = shown.pop("account td")
    # The page may have changed while it was read.
    if shown["frames"] != number(page, "frames"):
        return None
    after = run.metrics()
    if before["impala_learner_frames_total"] != after["impala_learner_frames_total"]:
        return None
    return (shown, after) if shown["frames"] == after["impala_learner_frames_total"] else None


def compare(run, page):
    shown, metrics = until("page and metrics of the same report", lambda: same_moment(run, page))
    check(f"mean return: {shown}", abs(shown["mean"] - metrics["impala_learner_mean_return"]) <= 0.051)
    check(f"actors: {shown}", shown["actors"] == metrics["impala_learner_actors_connected"] == 2)
    status = run.status()
    check("the status has fewer frames than the page", status["frames"] >= shown["frames"])
    check("state", page.text_content("#state-name").startswith(status["state"]))
    check(f"trajectories: {shown} {metrics['impala_learner_trajectories_produced_total']}", shown["produced"] == metrics["impala_learner_trajectories_produced_total"])
    rows = {row.query_selector("th").text_content(): row.query_selector("td").text_content() for row in page.query_selector_all("#account tr")}
    check(f"account: {rows}", list(rows) == ["produced", "trained", "refused", "lost", "in flight"])
    return shown


def errors_of(page):
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: message.type == "error" and "ERR_" not in message.text and errors.append(message.text))
    return errors


def main(impala, crowd, pictures):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=os.environ.get("BROWSER_PATH") or None, args=CHROMIUM)
        for actors, look_at in [(None, look), (crowd, look_at_crowd)]:
            run = Run(impala, pathlib.Path(tempfile.mkdtemp()), actors)
            try:
                until("the page", lambda: run.get(""))
                look_at(run, browser, pictures)
            finally:
                run.end()
        browser.close()


def try_curves(page):
    """Curves tell their numbers; a closer look stays while more comes, until a double click or another axis."""
    box = page.locator("#return-chart .u-over").bounding_box()
    at = lambda part: (box["x"] + part * box["width"], box["y"] + box["height"] / 2)
    told = lambda: page.text_content("#return-chart .told")
    tells_all = lambda: "training" in told() and "double click" not in told()

    def look_closely():
        page.mouse.move(*at(0.2))
        page.mouse.down()
        page.mouse.move(*at(0.4), steps=4)
        page.mouse.up()

    page.mouse.move(*at(0.7))
    until("numbers under the cursor", lambda: re.fullmatch(r"training [\d.]+(, evaluated [\d.]+)? at [\d.]+( [kMG])?", told()))
    look_closely()
    frames = number(page, "frames")
    until("further frames", lambda: number(page, "frames") > frames)
    page.mouse.move(*at(0.6))
    until("a closer look that stays", lambda: "double click" in told())
    page.mouse.dblclick(*at(0.6))
    page.mouse.move(*at(0.5))
    until("all of it", tells_all)
    look_closely()
    page.click("#over-frames")
    page.mouse.move(*at(0.5))
    until("all of it on another axis", tells_all)
    page.click("#over-seconds")
    page.mouse.move(0, 0)


def look(run, browser, pictures):
    page = browser.new_page(viewport={"width": 1280, "height": 1300})
    errors, sizes, foreign = errors_of(page), {}, []
    page.on("request", lambda request: request.url.startswith(run.address) or foreign.append(request.url))
    page.on("response", lambda r: "/api/" in r.url or "/events" in r.url or sizes.update({r.url: len(r.body())}))
    page.goto(run.address)
    until("training on the page", lambda: page.text_content("#state-name") == "training")
    until("the show", lambda: page.text_content("#play-action") in ["left", "right"])
    until("an evaluation", lambda: "eval" in page.text_content("#goal"))
    until("the fleet", lambda: "1 to 2 of 2" in page.text_content("#fleet-page"))
    first = compare(run, page)
    check(f"loaded from elsewhere: {foreign}", not foreign)
    total = sum(sizes.values())
    check(f"the page has {total} bytes: {sizes}", total < PAGE_MAX)

    # Keys: the axis is chosen and the table sorted without a mouse.
    page.focus("#over-seconds")
    page.keyboard.press("Enter")
    check("the axis", page.get_attribute("#over-seconds", "aria-pressed") == "true")
    page.focus("#fleet-head th:nth-child(3) button")
    page.keyboard.press("Enter")
    until("a sorted fleet", lambda: page.get_attribute("#fleet-head th:nth-child(3)", "aria-sort") == "descending")

    try_curves(page)

    # Nothing moves while numbers change.
    places = lambda: page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('main [id], main h2')].map((e) => [e.id || e.textContent, Math.round(e.getBoundingClientRect().top)]))"
    )
    still = ["numbers-title", "limit", "return-chart", "scene", "speed-chart", "entropy-chart", "loss-chart", "lags", "account", "busy", "fleet-title", "settings"]
    before = places()
    page.wait_for_timeout(3000)
    after = places()
    moved = {place: (before[place], after[place]) for place in still if before[place] != after[place]}
    check(f"the layout jumps: {moved}", not moved)

    # Killed and started again: the page comes back by itself and goes on.
    run.kill()
    until("the loss of the learner", lambda: "gone" in page.text_content("#state-name"))
    run.start()
    until("training again", lambda: page.text_content("#state-name") == "training")
    # They come back one after the other.
    until("both actors again", lambda: number(page, "actors") == 2)
    again = until("the run that goes on", lambda: number(page, "frames") and compare(run, page))
    print(f"frames before the kill {first['frames']:.0f}, after the restart {again['frames']:.0f}; page {total} bytes")

    # What it keeps is bounded.
    heap = lambda: page.evaluate("(window.gc(), performance.memory.usedJSHeapSize)")
    sizes_before = heap()
    page.wait_for_timeout(20_000)
    growth = heap() - sizes_before
    check(f"the page grew by {growth} bytes in 20 s", growth < GROWTH_MAX)
    print(f"heap of the page {sizes_before} bytes, 20 s later {growth:+}")
    check(f"errors on the page: {errors}", not errors)

    if pictures:
        page.screenshot(path=f"{pictures}/live.png", full_page=True)
    for name, options in {
        "dark": {"viewport": {"width": 1280, "height": 1300}, "color_scheme": "dark"},
        "phone": {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True},
    }.items():
        other = browser.new_context(**options).new_page()
        other_errors = errors_of(other)
        other.goto(run.address)
        until("training", lambda: other.text_content("#state-name") == "training")
        until("the show", lambda: other.text_content("#play-action") in ["left", "right"])
        wide = other.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
        check(f"{name}: the page is wider than the screen", not wide)
        check(f"{name}: {other_errors}", not other_errors)
        if pictures:
            other.screenshot(path=f"{pictures}/{name}.png", full_page=True)
        other.close()


def look_at_crowd(run, browser, pictures):
    """A page with a thousand actors has as much to do as one with two."""
    page = browser.new_page(viewport={"width": 1280, "height": 1300})
    errors = errors_of(page)
    page.goto(run.address)
    until("the crowd", lambda: number(page, "actors") == CROWD)
    of_all = f"of {CROWD // 1000}\u202f{CROWD % 1000:03}"
    until("the crowd in the table", lambda: page.text_content("#fleet-page") == f"1 to 20 {of_all}")
    page.click("#fleet-head th:nth-child(5) button")
    until("a sorted fleet", lambda: page.get_attribute("#fleet-head th:nth-child(5)", "aria-sort") == "descending")
    # In one go: the table is filled anew meanwhile.
    column = lambda: page.evaluate("[...document.querySelectorAll('#fleet td:nth-child(5)')].map((cell) => cell.textContent)")
    lags = until("lags", lambda: [float(told) for told in column() if told != "–"])
    check(f"the oldest policies come first: {lags}", lags == sorted(lags, reverse=True))

    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    told = lambda: {m["name"]: m["value"] for m in session.send("Performance.getMetrics")["metrics"]}
    before, rows = told(), page.evaluate("document.querySelectorAll('#fleet tr').length")
    page.wait_for_timeout(10_000)
    after = told()
    share = (after["TaskDuration"] - before["TaskDuration"]) / (after["Timestamp"] - before["Timestamp"])
    nodes = after["Nodes"] - before["Nodes"]
    print(f"{CROWD} actors: the page is at work {share:.0%} of the time, {nodes:+.0f} nodes in 10 s")
    check(f"the table has {rows} rows", rows == 20)
    check(f"the page works {share:.0%} of the time", share < WORK_MAX)

    # To the last page, and back by the header.
    until("the last page", lambda: page.is_disabled("#fleet-on") or page.click("#fleet-on"))
    until("the end of the table", lambda: page.text_content("#fleet-page") == f"{CROWD - 19} to {CROWD // 1000}\u202f{CROWD % 1000:03} {of_all}")
    check(f"errors on the page: {errors}", not errors)
    if pictures:
        page.screenshot(path=f"{pictures}/crowd.png", full_page=True)


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else None)
