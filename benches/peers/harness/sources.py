"""Where events come from: a file that the peer appends to, read while it grows.

The Python peers append JSON lines themselves (`adapters/events.py`); for the Rust programs their own output is read, so
that no process of ours stands between and none is counted in their memory. Feeds `measure`, knows no figures.
"""

import json
import re


class Tail:
    """Complete new lines of a file that may not exist yet. `find` gives its path, `parse` a line's event, or None.

    A parsed event carries `t` (seconds of the system's monotonic clock), `clock` (the peer's own seconds, which are
    laid on ours at its first event), or neither: then it happened when it was read.
    """

    def __init__(self, find, parse):
        self.find, self.parse = find, parse
        self.file = None
        self.partial = ""
        self.clock_offset = None

    def events(self, now):
        """Events since the last call, with `t` on the system's monotonic clock."""
        if self.file is None:
            path = self.find()
            if path is None or not path.exists():
                return []
            self.file = path.open(encoding="utf-8", errors="replace")
        *lines, self.partial = (self.partial + self.file.read()).split("\n")
        return [self._timed(event, now) for event in map(self.parse, lines) if event]

    def _timed(self, event, now):
        clock = event.pop("clock", None)
        if clock is not None:
            if self.clock_offset is None:
                self.clock_offset = now - clock
            event["t"] = clock + self.clock_offset
        return {"t": now, **event}

    def close(self):
        if self.file is not None:
            self.file.close()


def parse_json(line):
    """A line written by `adapters/events.py`."""
    return json.loads(line) if line.strip() else None


def parse_impala_csv(line):
    """A row of `impala train`'s metrics.csv; the header and rows cut short give nothing."""
    columns = line.split(",")
    try:
        seconds, frames, episodes = float(columns[0]), int(columns[1]), int(columns[3])
    except (ValueError, IndexError):
        return None
    event = {"clock": seconds, "frames": frames, "episodes": episodes}
    if columns[5]:
        event["mean_return"] = float(columns[5])
    return event


THRUST_UPDATE = re.compile(r"env_steps=\s*(\d+)\s+episodes=\s*(\d+)\s+mean_ep_reward\(last≤100\)=\s*([-\d.]+)")


def parse_thrust_log(line):
    """The progress line that thrust-rl's learner logs after every update."""
    found = THRUST_UPDATE.search(line)
    return found and {"frames": int(found[1]), "episodes": int(found[2]), "mean_return": float(found[3])}
