"""JSON logs of real runs in rsyslog, with the configuration of examples/logs; scripts/check-logs.sh gets it.

    python3 scripts/check-logs.py IMPALA RSYSLOGD [ARGUMENT..]

Two runs and one whose logs are for people; meanwhile an actor is killed, and the collector is stopped and started again. Every line of the
logs must become one record with the same fields and values, in the file of its run and in the order of the log it comes from.
"""

import collections
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

from checks import PATIENCE, ROOT, check, until

CONFIGURATION = ROOT / "examples/logs/rsyslog.conf"


class Collector:
    def __init__(self, command, work):
        self.command, self.work, self.process = command, work, None
        self.runs, self.collected = work / "runs", work / "collected"
        self.runs.mkdir()
        (self.collected / "state").mkdir(parents=True)
        self.start()

    def start(self):
        arguments = ["-n", "-f", CONFIGURATION, "-i", self.work / "collector.pid"]
        environment = {**os.environ, "IMPALA_RUNS": str(self.runs), "IMPALA_COLLECTED": str(self.collected)}
        log = open(self.work / "collector.txt", "ab")
        self.process = subprocess.Popen([*self.command, *arguments], env=environment, stdout=log, stderr=log)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)

    def lines(self):
        return {file.name: file.read_text().splitlines() for file in self.collected.iterdir() if file.is_file()}


def children(pid):
    threads = pathlib.Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for thread in threads for child in thread.read_text().split()]


def follow(impala, collector):
    """The runs; gives the exit codes."""
    train = [impala, "train", "--quiet", "--runs-dir", collector.runs, "--actors", "2"]
    short = subprocess.Popen([*train, "--log-format", "json"], stdout=subprocess.DEVNULL)
    plain = subprocess.Popen([*train, "--log-format", "human", "--seed", "3"], stdout=subprocess.DEVNULL)
    endless = ["--solved-return", "501", "--frames-max", "1000000000000", "--time-max", "5m", "--seed", "2"]
    long = subprocess.Popen([*train, "--log-format", "json", "--run-dir", collector.runs / "long", *endless], stdout=subprocess.DEVNULL)
    try:
        log = collector.runs / "long/learner.log"
        until("actors", lambda: log.read_text().count('"an actor connected"') == 2)
        until("their lines in the collector", lambda: str(collector.lines().get("long.jsonl")).count("an actor connected") == 2)
        collector.stop()
        # What is logged while nobody collects.
        subprocess.run(["kill", "-KILL", str(children(long.pid)[0])], check=True)
        until("the actor's return", lambda: log.read_text().count('"an actor connected"') == 3)
        collector.start()
        long.send_signal(signal.SIGTERM)
        return [process.wait(PATIENCE) for process in [short, plain, long]]
    finally:
        for process in [short, plain, long]:
            process.kill()


def expected(runs):
    """By file of the collector and by log: its lines, parsed where they are JSON."""
    wanted = collections.defaultdict(dict)
    for log in runs.glob("*/*.log"):
        for line in log.read_text().splitlines():
            if line.startswith("{"):
                fields = json.loads(line)
                wanted[f"{fields.get('run', 'unnamed')}.jsonl"].setdefault(log, []).append(fields)
            else:
                wanted["unparsed.log"].setdefault(log, []).append(line)
    return wanted


def compare(wanted, found):
    check(f"other files than expected: {sorted(found)} in place of {sorted(wanted)}", sorted(found) == sorted(wanted))
    hosts = set()
    for name, logs in wanted.items():
        records = found[name]
        if name.endswith(".jsonl"):
            records = [json.loads(record) for record in records]
            hosts |= {record.pop("host") for record in records}
        for log, lines in logs.items():
            place = 0
            for line in lines:
                check(f"{log}: not in {name} after record {place}, or out of order: {line}", line in records[place:])
                place = records.index(line, place) + 1
        print(f"{name}: {len(records)} records of {len(logs)} logs")
    check(f"hosts: {hosts}", len(hosts) == 1 and all(hosts))


def main(impala, command):
    with tempfile.TemporaryDirectory() as work:
        collector = Collector(command, pathlib.Path(work))
        try:
            codes = follow(impala, collector)
            check(f"exit codes {codes}", codes == [0, 0, 130])
            wanted = expected(collector.runs)
            count = sum(len(lines) for logs in wanted.values() for lines in logs.values())
            until(f"{count} records", lambda: sum(map(len, collector.lines().values())) >= count)
        finally:
            collector.stop()
            sys.stderr.write((pathlib.Path(work) / "collector.txt").read_text())
        found = collector.lines()
        check(f"{count} lines became {sum(map(len, found.values()))} records", count == sum(map(len, found.values())))
        compare(wanted, found)
        long = wanted["long.jsonl"]
        lost = [line for lines in long.values() for line in lines if line["message"] == "an actor process ended; starting it again"]
        check(f"the killed actor: {lost}", len(lost) == 1 and lost[0]["actor"] == f"actor-{lost[0]['index']}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
