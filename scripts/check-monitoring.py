"""What a learner and two actors export, asked as Prometheus and Grafana ask; scripts/check-monitoring.sh installs what it needs.

    python3 scripts/check-monitoring.py IMPALA DASHBOARD RULES NVML

NVML is a directory with a library that stands in for the driver of a GPU.

A real Prometheus on loopback scrapes them twice: as docker/prometheus.yml does, and with the labels of Kubernetes' PodMonitors. Every
query of the dashboard must have an answer of numbers for either, and every alert rule must be loaded without an error.
"""

import json
import math
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

from checks import PATIENCE, free_port, until

# Each is scraped once a second; rates are over this.
RATE = "10s"
# Without a limit of open files that is near there is no answer.
MAY_BE_SILENT = ["process_max_fds"]
# NaN while the learner cannot tell, as with two actors that solve the task at once.
MAY_BE_NAN = ["impala_learner_gradient_noise_columns", "impala_learner_actors_enough"]
# Namespace and learner of the dashboard's variables: the series without a namespace are compose's.
CHOICES = {"compose": ("", ".*"), "Kubernetes": ("impala", ".*")}


def get(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()


class Processes:
    """A learner, two actors and a Prometheus, each with a log in `work`."""

    def __init__(self, work):
        self.work, self.running = work, []

    def start(self, name, *command, **environment):
        log, environment = open(self.work / f"{name}.txt", "ab"), {**os.environ, **environment}
        command = [str(part) for part in command]
        self.running.append(subprocess.Popen(command, stdout=log, stderr=log, env=environment))

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        for process in self.running:
            process.kill()
            process.wait()
        if kind is not None:
            for log in sorted(self.work.glob("*.txt")):
                print(f"{log.name}:", *log.read_text().splitlines()[-10:], sep="\n  ", file=sys.stderr)


def start_run(impala, processes, nvml):
    """Gives the addresses of the metrics: of the learner, and of the actors."""
    grpc, learner, *actors = [free_port() for _ in range(4)]
    # The goal is reached at once and training goes on: so there are verifications too.
    goal = ["--solved-return", "20", "--frames-after-solved", "1000000000000", "--frames-max", "1000000000000", "--time-max", "1h"]
    pace = ["--eval-interval", "1", "--eval-episodes", "10", "--checkpoint-every", "100", "--checkpoint-interval", "1"]
    serving = ["--listen", f"127.0.0.1:{grpc}", "--metrics-listen", f"127.0.0.1:{learner}"]
    learner_of = [impala, "learner", "--quiet", "--run-dir", processes.work / "run"]
    processes.start("learner", *learner_of, *goal, *pace, *serving, LD_LIBRARY_PATH=nvml)
    for index, port in enumerate(actors):
        serving = ["--learner", f"127.0.0.1:{grpc}", "--metrics-listen", f"127.0.0.1:{port}"]
        processes.start(f"actor-{index}", impala, "actor", "--wait", "--name", f"actor-{index}", *serving)
    return f"127.0.0.1:{learner}", [f"127.0.0.1:{port}" for port in actors]


def lint(address):
    text = get(f"http://{address}/metrics")
    found = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    if found.returncode != 0 or found.stdout or found.stderr:
        sys.exit(f"error: promtool check metrics on {address}:\n{found.stdout}{found.stderr}")
    return text.count("# TYPE ")


def configuration(rules, learner, actors):
    """docker/prometheus.yml, whose jobs find these processes instead of asking a name server; and the same as PodMonitors name them."""
    compose = pathlib.Path("docker/prometheus.yml").read_text()
    jobs = re.findall(r"job_name: (\S+)\n    dns_sd_configs:\n(?:      .*\n)+", compose)
    assert jobs == ["learner", "actor"], jobs
    addresses = {"learner": [learner], "actor": actors}
    job = lambda name, labels, of: {
        "job_name": name,
        "static_configs": [
            {"targets": [address], "labels": labels and {**labels, "pod": f"impala-{of}-{index}"}}
            for index, address in enumerate(addresses[of])
        ],
    }
    of_kubernetes = [job(f"impala/impala-{of}", {"namespace": "impala"}, of) for of in addresses]
    scrapes = [job(of, {}, of) for of in jobs] + of_kubernetes
    everything = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    # What is JSON is YAML.
    return json.dumps({"global": everything, "rule_files": [str(rules)], "scrape_configs": scrapes}, indent=1)


class Prometheus:
    def __init__(self, processes, config):
        (processes.work / "prometheus.yml").write_text(config)
        self.address = f"http://127.0.0.1:{free_port()}"
        listen = self.address.removeprefix("http://")
        files = [f"--config.file={processes.work / 'prometheus.yml'}", f"--storage.tsdb.path={processes.work / 'data'}"]
        processes.start("prometheus", "prometheus", *files, f"--web.listen-address={listen}")

    def ask(self, path, **parameters):
        """The data of an answer, or the reason why there is none."""
        try:
            answer = get(f"{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
        except urllib.error.HTTPError as error:
            if error.code != 400:
                raise
            answer = error.read().decode()
        answer = json.loads(answer)
        return answer["data"] if answer["status"] == "success" else answer["error"]

    def has_scraped(self, count):
        targets = self.ask("targets", state="active")["activeTargets"]
        return len(targets) == count and all(target["health"] == "up" for target in targets)


def queries(dashboard):
    """Every query with the title of its panel."""
    panels = [inner for panel in dashboard["panels"] for inner in [panel, *panel.get("panels", [])]]
    return [(panel["title"], target["expr"]) for panel in panels for target in panel.get("targets", [])]


def complaint(prometheus, query, namespace, learner):
    """What is wrong with the answer of a query; nothing if it has numbers."""
    query = query.replace("$__rate_interval", RATE).replace("$namespace", namespace).replace("$learner", learner)
    if "$" in query:
        return "a variable that Grafana has not"
    answer = prometheus.ask("query", query=query)
    if isinstance(answer, str):
        return answer
    values = [float(sample["value"][1]) for sample in answer["result"]]
    is_of = lambda metrics: any(metric in query for metric in metrics)
    has_answer = any(map(math.isfinite, values)) or is_of(MAY_BE_SILENT) or (values and is_of(MAY_BE_NAN))
    return None if has_answer else f"no numbers: {answer['result']}"


def complaints(prometheus, dashboard):
    asked = [(*query, name, choice) for query in queries(dashboard) for name, choice in CHOICES.items()]
    found = [(title, name, query, complaint(prometheus, query, *choice)) for title, query, name, choice in asked]
    return [f"{title} ({name}): {query}\n  {wrong}" for title, name, query, wrong in found if wrong]


def check_queries(prometheus, dashboard):
    # Some metrics come with the first verification, evaluation or checkpoint.
    ended = time.monotonic() + PATIENCE
    while found := complaints(prometheus, dashboard):
        if time.monotonic() > ended:
            sys.exit("error: queries of the dashboard without an answer:\n" + "\n".join(found))
        time.sleep(1)
    # Of mistakes that must be found, the first has no answer and the second is no query.
    for mistake in ["impala_learner_frame_total", "impala_learner_frames_total("]:
        broken = json.dumps(dashboard).replace("impala_learner_frames_total", mistake)
        assert complaints(prometheus, json.loads(broken)), f"{mistake} is not found"


def check_rules(prometheus):
    groups = prometheus.ask("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    broken = [rule for rule in rules if rule["health"] != "ok"]
    if broken or not rules:
        sys.exit(f"error: {len(rules)} alert rules, of which these are not evaluated: {broken}")
    firing = [rule["name"] for rule in rules if rule["state"] == "firing"]
    if firing:
        sys.exit(f"error: alerts of a run that has nothing wrong: {firing}")
    return len(rules)


def main(impala, dashboard, rules, nvml):
    dashboard = json.loads(pathlib.Path(dashboard).read_text())
    with tempfile.TemporaryDirectory() as work, Processes(pathlib.Path(work)) as processes:
        learner, actors = start_run(pathlib.Path(impala).resolve(), processes, nvml)
        prometheus = Prometheus(processes, configuration(rules, learner, actors))
        until("a Prometheus that has scraped everybody", lambda: prometheus.has_scraped(6))
        check_queries(prometheus, dashboard)
        count = len(queries(dashboard))
        print(f"ok      {count} queries of the dashboard have answers, by compose's labels and by Kubernetes'")
        print(f"ok      promtool check metrics: {lint(learner)} metrics of the learner, {lint(actors[0])} of an actor")
        until("the rules to be evaluated", lambda: all(g["lastEvaluation"] > "0002" for g in prometheus.ask("rules")["groups"]))
        print(f"ok      {check_rules(prometheus)} alert rules are evaluated, and none fires")


main(*sys.argv[1:])
