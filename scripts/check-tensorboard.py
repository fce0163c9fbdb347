"""Reads the event files of runs with TensorBoard, as check-tensorboard.sh makes them.

    BROWSER_PATH=/usr/bin/chromium python3 scripts/check-tensorboard.py RUNS KILLED_AFTER [PICTURES]

RUNS has a solved run and `resumed`, which was killed after so many frames and resumed from a checkpoint before. Which tag has the numbers
of which column is read from the manual.
"""

import csv
import json
import os
import pathlib
import re
import struct
import subprocess
import sys
import time
import urllib.request

import numpy as np
from playwright.sync_api import sync_playwright
from tensorboard.backend.event_processing import event_accumulator, event_file_loader
from tensorboard.compat.proto import event_pb2

from checks import columns_by_series

runs, killed_after = pathlib.Path(sys.argv[1]), int(sys.argv[2])
pictures = pathlib.Path(sys.argv[3]) if len(sys.argv) > 3 else None


def layers(run):
    """Numbers in each tensor of the run's model."""
    model = (run / "model.safetensors").read_bytes()
    header = json.loads(model[8 : 8 + struct.unpack("<Q", model[:8])[0]])
    return {name: int(np.prod(tensor["shape"])) for name, tensor in header.items() if name != "__metadata__"}


def check_scalars(run, events, resumed_at):
    """Every value is that of a row of the table, and every row of the table is there."""
    table = list(csv.DictReader((run / "metrics.csv").open()))
    by_key = {(int(row["frames"]), np.float32(row["seconds"])): row for row in table}
    row_at = {}
    for point in events.Scalars("progress/seconds"):
        row_at[point.wall_time] = by_key.pop((point.step, np.float32(point.value)))
    # At the frames that a run is resumed from, TensorBoard takes what the resumed run says.
    assert all(frames == resumed_at for frames, _ in by_key), f"rows without events: {list(by_key)}"
    columns, count = columns_by_series(), 0
    names = events.Tags()["scalars"]
    assert set(names) <= set(columns), set(names) - set(columns)
    for tag, column in columns.items():
        if not column:
            continue
        points = events.Scalars(tag) if tag in names else []
        for point in points:
            expected = np.float32(row_at[point.wall_time][column])
            assert np.array_equal(expected, np.float32(point.value), equal_nan=True), (tag, point, expected)
        without = [row for row in row_at.values() if row[column] and row not in (row_at[point.wall_time] for point in points)]
        # Before the first update of a process nothing is known of updates.
        assert all(float(row["gradient_norm"]) == 0 for row in without), (tag, without)
        count += len(points)
    return len(row_at), count


def check_histograms(run, events):
    names = events.Tags()["histograms"]
    numbers = layers(run)
    wanted = {f"{kind}/{layer}": size for kind in ("parameters", "gradient") for layer, size in numbers.items()}
    assert set(names) == {*wanted, "lag/updates", "return/episodes"}, names
    for tag in names:
        histograms = events.Histograms(tag)
        assert histograms, tag
        for event in histograms:
            step, value = event.step, event.histogram_value
            limits = [value.min, *value.bucket_limit]
            assert value.num == sum(value.bucket) > 0 and sorted(limits) == limits and limits[-1] == value.max, (tag, step, value)
            assert tag not in wanted or value.num == wanted[tag], (tag, step, value.num)
    return sum(len(events.Histograms(tag)) for tag in names)


def check_run(run):
    files = sorted(run.glob("events.out.tfevents.*"))
    starts = []
    for file in files:
        raw = list(event_file_loader.LegacyEventFileLoader(str(file)).Load())
        assert raw[0].file_version == "brain.Event:2" and raw[1].session_log.status == event_pb2.SessionLog.START
        assert [event.step for event in raw[1:]] == sorted(event.step for event in raw[1:]), f"steps run backwards in {file}"
        starts.append(raw[1].step)
    expected_files = 2 if run.name == "resumed" else 1
    assert len(files) == expected_files and starts[0] == 0, starts
    resumed_at = starts[1] if len(starts) > 1 else None
    everything = {kind: 0 for kind in event_accumulator.DEFAULT_SIZE_GUIDANCE}
    events = event_accumulator.EventAccumulator(str(run), size_guidance=everything)
    events.Reload()
    rows, points = check_scalars(run, events, resumed_at)
    histograms = check_histograms(run, events)
    for tag in events.Tags()["scalars"]:
        steps = [point.step for point in events.Scalars(tag)]
        assert steps == sorted(steps), f"{tag} runs backwards in {run}"
    assert any(point.step > (resumed_at or 0) for point in events.Scalars("loss/total"))
    text = events.Tensors("config")[-1].tensor_proto.string_val[0].decode()
    assert [line[4:] for line in text.splitlines()] == (run / "config.toml").read_text().splitlines()
    size = sum(file.stat().st_size for file in files)
    print(f"{run.name}: begins at {starts}, {rows} rows, {points} values, {histograms} histograms, {size} bytes")
    return resumed_at


class Server:
    """TensorBoard on loopback."""

    def __enter__(self):
        command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(runs), "--host", "127.0.0.1", "--port", "0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for line in self.process.stdout:
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                self.url = found[0]
                return self
        raise AssertionError("TensorBoard did not start")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def ask(self, path, data=None):
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/data/{path}", json.dumps(data).encode() if data else None, headers)
        return json.load(urllib.request.urlopen(request))

    def wait_for_runs(self, names):
        """Until everything is read: the last thing that a run writes is its results."""
        for _ in range(300):
            tags = self.ask("plugin/scalars/tags")
            if all("result/seconds" in tags.get(name, {}) for name in names):
                return
            time.sleep(0.2)
        raise AssertionError(f"TensorBoard read no more than {tags}")


def check_hyperparameters(server, names):
    """Each run has its settings by their types, and its results."""
    experiment = server.ask("plugin/hparams/experiment", {"experimentName": ""})
    metrics = [info["name"]["tag"] for info in experiment["metricInfos"]]
    columns = [{"hparam": info["name"]} for info in experiment["hparamInfos"]]
    columns += [{"metric": info["name"]} for info in experiment["metricInfos"]]
    statuses = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]
    question = {"experimentName": "", "allowedStatuses": statuses, "colParams": columns, "startIndex": 0, "sliceSize": 100}
    groups = {group["name"]: group for group in server.ask("plugin/hparams/session_groups", question)["sessionGroups"]}
    assert set(groups) == set(names), groups
    for name, group in groups.items():
        summary = json.loads((runs / name / "summary.json").read_text())
        values = {value["name"]["tag"]: value["value"] for value in group["metricValues"]}
        verified = summary["verification"]["verified"]
        expected = {"result/seconds": summary["seconds"], "result/mean_return": summary["mean_return"]}
        if solved := summary["solved"]:
            expected |= {"result/frames_to_solve": solved["frames"], "result/seconds_to_solve": solved["seconds"]}
            expected |= {"result/verified_return": verified["score"]["mean"]}
        assert set(expected) <= set(metrics) and values.keys() == expected.keys(), (values, expected)
        assert all(np.float32(values[tag]) == np.float32(expected[tag]) for tag in expected), (values, expected)
        settings = group["hparams"]
        assert settings["environment"] == "cartpole-v1" and settings["amsgrad"] is True and settings["hidden"] == "64,64"
        assert settings["learning_rate"] == (0.001 if name == "resumed" else 0.002), settings
        assert group["sessions"][0]["status"] == "STATUS_SUCCESS"
    print(f"hyperparameters: {len(experiment['hparamInfos'])} settings and {len(metrics)} results of {len(groups)} runs")


def check_series(server, name, tag):
    """The server that reads the files for the pages has steps that only grow."""
    points = server.ask(f"plugin/scalars/scalars?run={name}&tag={tag}")
    steps = [step for _, step, _ in points]
    assert steps and steps == sorted(set(steps)), (name, tag, steps)


PAGES = {
    "timeseries": ["gradient/norm", "Histogram"],
    "scalars": ["lag/mean_updates", "return"],
    "histograms": ["gradient/policy.weight"],
    "distributions": ["gradient/policy.weight"],
    "hparams": ["learning_rate", "frames_to_solve", "resumed"],
    "text": ["environment = \"cartpole-v1\""],
}


def check_pages(server):
    with sync_playwright() as playwright:
        # As root in a container there is no sandbox to be had.
        browser = playwright.chromium.launch(executable_path=os.environ.get("BROWSER_PATH") or None, args=["--no-sandbox"])
        for name, texts in PAGES.items():
            page = browser.new_page(viewport={"width": 1500, "height": 1100})
            errors = []
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.goto(f"{server.url}/#{name}")
            for text in texts:
                page.get_by_text(text).locator("visible=true").first.wait_for(timeout=30_000)
            if pictures:
                page.wait_for_timeout(2000)
                page.screenshot(path=pictures / f"{name}.png")
            assert not errors, (name, errors)
            page.close()
        browser.close()
    print(f"pages: {', '.join(PAGES)}")


names = sorted(run.name for run in runs.iterdir())
resumed_at = {name: check_run(runs / name) for name in names}
assert 0 < resumed_at["resumed"] < killed_after, "the killed run was not ahead of its checkpoint"
with Server() as server:
    server.wait_for_runs(names)
    check_hyperparameters(server, names)
    for name in names:
        check_series(server, name, "return/mean")
        check_series(server, name, "speed/frames_per_second")
    check_pages(server)
