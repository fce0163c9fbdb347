"""What the checks with other tools, scripts/check-*.py, have in common."""

import pathlib
import re
import socket
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Seconds that something has which takes a moment.
PATIENCE = 60


def check(what, holds):
    if not holds:
        sys.exit(f"error: {what}")


def until(what, ask, seconds=PATIENCE):
    """The first answer that is not false. What cannot be asked yet, or answers nonsense, is asked again."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if answer := ask():
                return answer
        except (OSError, ValueError):
            pass
        time.sleep(0.1)
    sys.exit(f"error: waited in vain for {what}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def columns_by_series():
    """The series of the manual, each with its column of metrics.csv; the results have none."""
    table = (ROOT / "docs/how-to/tensorboard.md").read_text().split("<!-- generated: scalars -->")[1].split("<!-- end -->")[0]
    return dict(re.findall(r"^\| `([^`]+)` \| (?:`([^`]+)`)? ?\|", table, re.MULTILINE))
