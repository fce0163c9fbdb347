"""Writes a dashboard as TypeScript that `tsc` compares with scripts/dashboard-schema.d.ts, and copies that it must refuse.

    python3 scripts/check-dashboard.py DASHBOARD DIRECTORY
"""

import copy
import json
import pathlib
import sys


def first(dashboard, kind):
    return next(panel for panel in dashboard["panels"] if panel["type"] == kind)


def inner(dashboard):
    """A panel inside a collapsed row."""
    return next(panel for row in dashboard["panels"] if row["type"] == "row" for panel in row["panels"])


# What goes wrong when a dashboard is edited by hand: each copy has one of these.
MISTAKES = {
    "no schema version": lambda d: d.pop("schemaVersion"),
    "a key of the newer model": lambda d: d.update(elements={}),
    "an unknown kind of variable": lambda d: d["templating"]["list"][0].update(type="data-source"),
    "an unknown kind of panel": lambda d: first(d, "timeseries").update(type="graph"),
    "a panel without a place": lambda d: first(d, "timeseries").pop("gridPos"),
    "a place without a width": lambda d: first(d, "timeseries")["gridPos"].pop("w"),
    "a unit at the wrong level": lambda d: first(d, "timeseries")["fieldConfig"].update(unit="s"),
    "an unknown legend": lambda d: first(d, "timeseries")["options"]["legend"].update(displayMode="lists"),
    "an option of another panel": lambda d: first(d, "timeseries")["options"].update(textMode="name"),
    "a drawing style of another panel": lambda d: first(d, "state-timeline")["fieldConfig"]["defaults"]["custom"].update(drawStyle="line"),
    "a width as text": lambda d: first(d, "timeseries")["fieldConfig"]["defaults"]["custom"].update(lineWidth="1"),
    "a query without a letter": lambda d: first(d, "stat")["targets"][0].pop("refId"),
    "a query by another name": lambda d: first(d, "stat")["targets"][0].update(query="up"),
    "a mistake inside a collapsed row": lambda d: inner(d)["options"]["tooltip"].update(mode="all"),
}


def write(path, dashboard):
    text = json.dumps(dashboard, indent=1, ensure_ascii=False)
    path.write_text(
        f'import type {{ ClassicDashboard }} from "./dashboard-schema";\nexport const dashboard: ClassicDashboard = {text};\n'
    )


def main(source, directory):
    dashboard = json.loads(pathlib.Path(source).read_text())
    directory = pathlib.Path(directory)
    write(directory / "dashboard.ts", dashboard)
    for name, mistake in MISTAKES.items():
        broken = copy.deepcopy(dashboard)
        mistake(broken)
        write(directory / f"broken-{name.replace(' ', '-')}.ts", broken)


main(*sys.argv[1:])
