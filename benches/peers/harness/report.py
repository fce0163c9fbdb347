"""Results as JSON files and as Markdown tables with the ratios to ours. Reads only what `compare` has written."""

import json
import os
import platform
import re
import subprocess
from pathlib import Path

OURS = "impala"


def machine():
    """What the figures depend on besides the programs."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*:\s*(.+)", cpuinfo)
    memory_kb = int(re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())[1])
    try:
        rustc = subprocess.run(["rustc", "--version"], check=False, capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        rustc = None
    return {
        "processor": model[1] if model else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory_kb / 2**20, 1),
        "system": f"{platform.system()} {platform.release()}",
        "rustc": rustc,
    }


def save(output, result):
    """Writes one peer's result; a later run of the same peer replaces it."""
    (output / f"{result['peer']}.json").write_text(json.dumps(result, indent=2) + "\n")


def load(output, names):
    """Results in the order of `names`, those that exist."""
    paths = [output / f"{name}.json" for name in names]
    return [json.loads(path.read_text()) for path in paths if path.exists()]


def publish(output, results):
    """Writes comparison.json and comparison.md and returns the latter's text."""
    ours = next((result for result in results if result["peer"] == OURS), None)
    date = max((result["date"][:10] for result in results), default="nothing measured")
    (output / "comparison.json").write_text(
        json.dumps({"date": date, "peers": _with_ratios(results, ours)}, indent=2) + "\n"
    )
    text = "\n".join(_lines(date, results, ours)) + "\n"
    (output / "comparison.md").write_text(text)
    return text


def ratios(result, ours):
    """How many times better ours is. A peer that has not solved counts with the time it had: a lower bound."""
    found = {}
    for mode in ("solve", "throughput"):
        theirs, mine = result.get(mode) or {}, (ours or {}).get(mode) or {}
        found[f"{mode}_frames_per_s"] = _divide(mine.get("frames_per_s"), theirs.get("frames_per_s"))
        found[f"{mode}_memory"] = _divide(_memory(theirs), _memory(mine))
        if mode == "solve":
            waited = theirs.get("wall_s_to_solve") or theirs.get("wall_s")
            found["wall_to_solve"] = _divide(waited, mine.get("wall_s_to_solve"))
            found["frames_to_solve"] = _divide(theirs.get("frames_to_solve"), mine.get("frames_to_solve"))
    found["best_frames_per_s"] = _divide(best_frames_per_second(ours or {}), best_frames_per_second(result))
    return found


def best_frames_per_second(result):
    """Of both runs: large updates make some peers faster and others slower. None if neither was measured."""
    rates = [(result.get(mode) or {}).get("frames_per_s") for mode in ("solve", "throughput")]
    return max((rate for rate in rates if rate is not None), default=None)


def _with_ratios(results, ours):
    return [{**result, "ratios": ratios(result, ours)} for result in results]


def _divide(a, b):
    return a / b if a is not None and b else None


def _memory(run):
    return run.get("peak_pss_bytes") or run.get("peak_rss_bytes")


def _lines(date, results, ours):
    here = results[0]["machine"] if results else machine()
    ran = [result for result in results if not result.get("skipped")]
    cores, memory = f"{here['cores']} cores of {here['processor']}", f"{here['memory_gib']} GiB"
    yield f"{date}. {cores}, {memory}, {here['system']}, {here['rustc']}."
    yield ""
    yield "Solving CartPole-v1 (mean return of the last 100 training episodes >= 475), documented settings, one seed:"
    yield ""
    yield from _table(SOLVE_COLUMNS, ran, ours)
    if any(result.get("throughput") for result in ran):
        yield ""
        yield "Throughput, everybody with 5,120 frames an update:"
        yield ""
        yield from _table(THROUGHPUT_COLUMNS, [result for result in ran if result.get("throughput")], ours)
    for result in results:
        if result.get("skipped"):
            yield f"\nSKIPPED {result['title']}: {result['skipped']}"
            continue
        for mode in ("solve", "throughput"):
            if problem := (result[mode] or {}).get("problem"):
                yield f"\n{result['title']}, {mode}: {problem}"
    yield "\nVersions: " + "; ".join(f"{result['title']}: {_versions(result)}" for result in ran)


def _versions(result):
    return " ".join(f"{name} {version}" for name, version in result["versions"].items())


def _table(columns, results, ours):
    yield "| " + " | ".join(title for title, _ in columns) + " |"
    yield "|" + "---|" * len(columns)
    for result in results:
        yield "| " + " | ".join(cell(result, ratios(result, ours)) for _, cell in columns) + " |"


def _count(value):
    return "-" if value is None else f"{value:,.0f}"


def _seconds(value):
    return "-" if value is None else f"{value:.2f}" if value < 10 else f"{value:.0f}"


def _megabytes(value):
    return "-" if value is None else f"{value / 1e6:,.0f}"


def _times(value, is_bound=False):
    if value is None:
        return "-"
    return ("> " if is_bound else "") + (f"{value:,.0f}" if value >= 10 else f"{value:.2g}")


def _solved(result, _):
    run = result["solve"]
    if run["solved"]:
        return _seconds(run["wall_s_to_solve"])
    best = "no 100 episodes" if run["best_mean_return"] is None else f"best mean {run['best_mean_return']:.0f}"
    return f"no, {run['wall_s']:.0f} s ({best})"


def _column(mode, key, shape):
    return lambda result, _: shape((result[mode] or {}).get(key))


def _ratio(key):
    return lambda result, found: "1" if result["peer"] == OURS else _times(found[key])


def _wall_ratio(result, found):
    return "1" if result["peer"] == OURS else _times(found["wall_to_solve"], is_bound=not result["solve"]["solved"])


SOLVE_COLUMNS = [
    ("system", lambda result, _: result["title"]),
    ("settings", lambda result, _: result["settings"]),
    ("wall s to solve", _solved),
    ("frames to solve", _column("solve", "frames_to_solve", _count)),
    ("first episode after s", _column("solve", "first_episode_s", _seconds)),
    ("trained frames/s", _column("solve", "frames_per_s", _count)),
    ("peak memory MB, PSS", _column("solve", "peak_pss_bytes", _megabytes)),
    ("peak memory MB, sum of RSS", _column("solve", "peak_rss_bytes", _megabytes)),
    ("ours solves times sooner", _wall_ratio),
    ("ours frames/s / theirs", _ratio("solve_frames_per_s")),
    ("their memory / ours", _ratio("solve_memory")),
]

THROUGHPUT_COLUMNS = [
    ("system", lambda result, _: result["title"]),
    ("trained frames/s", _column("throughput", "frames_per_s", _count)),
    ("peak memory MB, PSS", _column("throughput", "peak_pss_bytes", _megabytes)),
    ("peak memory MB, sum of RSS", _column("throughput", "peak_rss_bytes", _megabytes)),
    ("ours frames/s / theirs", _ratio("throughput_frames_per_s")),
    ("better run of ours / of theirs", _ratio("best_frames_per_s")),
    ("their memory / ours", _ratio("throughput_memory")),
]
