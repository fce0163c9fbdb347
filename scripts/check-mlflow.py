"""Trains with a real MLflow server and compares what it has with the runs' directories, as check-mlflow.sh starts it.

    BROWSER_PATH=/usr/bin/chromium python3 scripts/check-mlflow.py IMPALA WORK [PICTURES]

Which series has the numbers of which column of metrics.csv is read from the manual.
"""

import collections
import csv
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import time
import tomllib
import urllib.request

from checks import ROOT, columns_by_series, free_port, until

impala, work = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
pictures = pathlib.Path(sys.argv[3]) if len(sys.argv) > 3 else None
EXPERIMENT = "check"
# Columns whose numbers are of single precision: the table has their shortest text.
SINGLE = {"loss", "policy_loss", "baseline_loss", "entropy_nats", "gradient_norm", "learning_rate"}


class Server:
    """MLflow on loopback, with a database and an artefact store of its own."""

    def __init__(self):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.kill()

    def start(self):
        since = time.monotonic()
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{work}/mlflow.db", "--artifacts-destination", f"{work}/artefacts"]
        command += ["--serve-artifacts"]
        log = (work / "server.txt").open("a")
        # It has children, and is killed with them.
        self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=work, start_new_session=True)
        until("the server", self.is_there, 120)
        print(f"server: up after {time.monotonic() - since:.1f} s")

    def is_there(self):
        assert self.process.poll() is None, (work / "server.txt").read_text()
        try:
            return urllib.request.urlopen(f"{self.url}/health", timeout=2).read() == b"OK"
        except OSError:
            return False

    def kill(self):
        if self.process:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


started = []


def train(run, *arguments, url=None):
    """A run that was started; its output goes to a file beside its directory."""
    tracking = ["--mlflow", url, "--mlflow-experiment", EXPERIMENT] if url else []
    # A server is slow to start; a training that takes every core would make it slower.
    command = ["nice", "-n", "15", impala, "train", "--quiet", "--run-dir", work / run, *tracking, *arguments]
    process = subprocess.Popen(command, stdout=(work / f"{run}.txt").open("a"), stderr=subprocess.STDOUT, cwd=ROOT)
    started.append(process)
    return process


def ended(run, process, status):
    told = process.wait(timeout=120)
    assert told == status, f"{run}: exit status {told}, {(work / f'{run}.txt').read_text()}"


def rows(run):
    path = work / run / "metrics.csv"
    return list(csv.DictReader(path.open())) if path.exists() else []


def number(column, text):
    return struct.unpack("f", struct.pack("f", float(text)))[0] if column in SINGLE else float(text)


def check(client, run, status, rendered=(), starts=1):
    """What the server has of a run is what lies in its directory."""
    directory = work / run
    there = json.loads((directory / "mlflow.json").read_text())
    found = client.get_run(there["run_id"])
    assert found.info.run_name == run and found.info.status == status, found.info
    assert client.get_experiment_by_name(EXPERIMENT).experiment_id == found.info.experiment_id == there["experiment_id"]

    table, values = rows(run), 0
    for series, column in columns_by_series().items():
        if not column:
            continue
        history = sorted(client.get_metric_history(there["run_id"], series), key=lambda metric: (metric.timestamp, metric.step))
        steps = [metric.step for metric in history]
        assert steps == sorted(steps), f"{series} of {run} runs backwards"
        told = collections.Counter((metric.step, metric.value) for metric in history)
        wanted = collections.Counter((int(row["frames"]), number(column, row[column])) for row in table if row[column])
        # Before the first update of a process nothing is known of updates.
        unknown = collections.Counter((int(row["frames"]), number(column, row[column])) for row in table if row[column] and not float(row["gradient_norm"]))
        assert not told - wanted, (run, series, told - wanted)
        # Rows of the same moment with the same value are one value to the server.
        assert all(point in told or point in unknown for point in wanted), (run, series, wanted - told)
        assert sum((wanted - unknown).values()) - sum(told.values()) <= starts, (run, series, wanted - told)
        values += len(history)

    settings = tomllib.loads((directory / "config.toml").read_text())
    params = found.data.params
    as_text = lambda value: ",".join(map(str, value)) if isinstance(value, list) else str(value).lower() if isinstance(value, bool) else str(value)
    changed = {key.removeprefix("impala.resumed."): value for key, value in found.data.tags.items() if key.startswith("impala.resumed.")}
    for key, value in (params | changed).items():
        if key in settings:
            same = value == as_text(settings[key]) or float(value) == float(settings[key])
            assert same, (key, value, settings[key])
    assert len(params) > 30 and params["environment"] == "cartpole-v1" and "run_dir" not in params, params
    assert set(params) & set(settings) >= {"seed", "learning_rate", "hidden", "frames_max"}

    tags = found.data.tags
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    assert tags.get("mlflow.source.git.commit", "") == commit and tags["impala.host"] == socket.gethostname(), tags

    summary = json.loads((directory / "summary.json").read_text())
    account = summary["mlflow"]
    assert account["rows_lost"] == 0 and not account["files_lost"] and account["results_sent"], account
    results = {key: value for key, value in found.data.metrics.items() if key.startswith("result/")}
    assert results["result/seconds"] == summary["seconds"] and results["result/mean_return"] == summary["mean_return"]
    if summary["solved"]:
        assert results["result/frames_to_solve"] == summary["solved"]["frames"]
        assert results["result/verified_return"] == summary["verification"]["verified"]["score"]["mean"]

    names = {artefact.path for artefact in client.list_artifacts(there["run_id"])}
    expected = {"config.toml", "model.safetensors", "learning_curve.svg", "summary.txt", "summary.json", *rendered}
    assert names == expected, names
    for name in names:
        copy = client.download_artifacts(there["run_id"], name, work)
        assert pathlib.Path(copy).read_bytes() == (directory / name).read_bytes(), name
        os.remove(copy)
    print(f"{run}: {status}, {len(table)} rows, {values} values, {len(params)} settings, files {', '.join(sorted(names))}")
    return there["run_id"]


def check_pages(server, experiment_id, run_id, name):
    from playwright.sync_api import sync_playwright

    pages = {"overview": name, "model-metrics": "actor_max_updates", "artifacts": "model.safetensors"}
    with sync_playwright() as playwright:
        # As root in a container there is no sandbox to be had.
        browser = playwright.chromium.launch(executable_path=os.environ.get("BROWSER_PATH") or None, args=["--no-sandbox"])
        for page_name, text in pages.items():
            page = browser.new_page(viewport={"width": 1500, "height": 1100})
            page.goto(f"{server.url}/#/experiments/{experiment_id}/runs/{run_id}" + ("" if page_name == "overview" else f"/{page_name}"))
            page.get_by_text(text).locator("visible=true").first.wait_for(timeout=60_000)
            if pictures:
                page.wait_for_timeout(4000)
                page.screenshot(path=pictures / f"mlflow-{page_name}.png")
            page.close()
        browser.close()
    print(f"pages: {', '.join(pages)}")


def main():
    with Server() as server:
        # The client is slow to be imported.
        import mlflow

        client = mlflow.MlflowClient(tracking_uri=server.url)

        ended("solved", train("solved", "--seed", "1", url=server.url), 0)
        solved_id = check(client, "solved", "FINISHED")

        # Killed in the middle, and back: what was told meanwhile is there too.
        light = ["--actors", "1", "--learner-threads", "1", "--report-interval", "1"]
        endless = [*light, "--seed", "2", "--solved-return", "501", "--frames-max", "1000000000"]
        process = train("resumed", *endless, url=server.url)
        until("a run of the server", (work / "resumed/mlflow.json").exists)
        until("rows", lambda: len(rows("resumed")) > 60)
        server.kill()
        count = len(rows("resumed"))
        until("rows without a server", lambda: len(rows("resumed")) > count + 8)
        assert process.poll() is None, "the run ended with the server"
        server.start()
        away = len(rows("resumed")) - count
        run_id = json.loads((work / "resumed/mlflow.json").read_text())["run_id"]

        def has_caught_up():
            time.sleep(1)
            return len(client.get_metric_history(run_id, "progress/seconds")) + 5 > len(rows("resumed"))

        until("what was told meanwhile", has_caught_up, 180)
        process.send_signal(signal.SIGINT)
        ended("resumed", process, 130)
        first_id = check(client, "resumed", "KILLED")
        print(f"resumed: {away} rows were told while the server was away")

        subprocess.run([impala, "render", work / "resumed", "--out", work / "resumed/episode.gif"], check=True, capture_output=True)
        frames = int(rows("resumed")[-1]["frames"])
        ended("resumed", train("resumed", "--frames-max", str(frames + 500_000), "--solved-return", "501"), 3)
        assert check(client, "resumed", "FINISHED", ["episode.gif"], starts=2) == first_id, "it went on elsewhere"
        experiment_id = client.get_experiment_by_name(EXPERIMENT).experiment_id
        assert len(client.search_runs([experiment_id])) == 2

        check_pages(server, experiment_id, solved_id, "solved")

    times = {}
    for run, url in [("alone", None), ("absent", f"http://127.0.0.1:{free_port()}")]:
        since = time.monotonic()
        ended(run, train(run, "--seed", "1", "--deterministic", "--actors", "1", url=url), 0)
        times[run] = time.monotonic() - since
    text = (work / "absent.txt").read_text()
    assert "mlflow        the server never answered; not there: " in text, text
    assert (work / "alone/model.safetensors").read_bytes() == (work / "absent/model.safetensors").read_bytes()
    assert times["absent"] - times["alone"] < 3, times
    print(f"absent: {times['absent']:.1f} s, and without --mlflow {times['alone']:.1f} s; the same bits")


try:
    main()
finally:
    for process in started:
        process.poll() is None and process.kill()
