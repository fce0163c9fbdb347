"""Looks at the notebook as it was committed and as it was just executed; scripts/check-notebook.sh does that.

    python3 scripts/check-notebook.py COMMITTED EXECUTED

The executed one shows two solved runs, two plots, an episode that moves, and evaluations with their intervals. The committed one has outputs
of the same cells, is small, and names no directory of the machine it was executed on.
"""

import base64
import io
import os
import re
import struct
import sys

import nbformat
import pandas

from checks import check

# Of the committed file with its outputs, bytes: people look at it in a browser.
SIZE_MAX = 300_000


class Outputs:
    def __init__(self, path):
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        self.cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        check(f"{path}: no cell is tagged as parameters", "parameters" in self.cells[0].metadata.get("tags", []))
        outputs = [output for cell in self.cells for output in cell.outputs]
        check(f"{path}: an error", all(output.output_type != "error" for output in outputs))
        check(f"{path}: something on standard error", all(output.get("name") != "stderr" for output in outputs))
        self.printed = [output.text for output in outputs if output.output_type == "stream"]
        self.pictures = [base64.b64decode(data["image/png"]) for data in self.data(outputs) if "image/png" in data]
        self.tables = [pandas.read_html(io.StringIO(data["text/html"]))[0] for data in self.data(outputs) if "text/html" in data]

    @staticmethod
    def data(outputs):
        return [output.data for output in outputs if "data" in output]


def moves(png):
    """How many pictures an animated PNG has; one where it is none."""
    place = png.find(b"acTL")
    return struct.unpack(">I", png[place + 4 : place + 8])[0] if place > 0 else 1


def look(path):
    found = Outputs(path)
    check(f"{path}: {len(found.printed)} summaries", len(found.printed) == 2)
    check(f"{path}: not solved", all(text.startswith("result        solved\n") for text in found.printed))
    check(f"{path}: pictures {[len(png) for png in found.pictures]}", all(png.startswith(b"\x89PNG") for png in found.pictures))
    frames = [moves(png) for png in found.pictures]
    check(f"{path}: pictures in each picture: {frames}", len(frames) == 3 and frames[0] == frames[2] == 1 and frames[1] > 20)
    metrics, evaluations, runs = found.tables
    check(f"{path}: rows of metrics.csv: {metrics}", len(metrics) == 5 and metrics.frames.is_monotonic_increasing)
    check(f"{path}: {evaluations}", list(evaluations.actions) == ["greedy", "sampled"] and evaluations["mean return"][0] >= 475)
    check(f"{path}: {runs}", list(runs.run) == ["first", "second"] and (runs["frames to solve"] > 0).all())
    for table in [evaluations, runs]:
        check(f"{path}: a mean outside of its interval: {table}", table["mean return"].between(table["from"], table["to"]).all())
    return found


def main(committed, executed):
    fresh, kept = look(executed), look(committed)
    sources = [[cell.source for cell in outputs.cells] for outputs in (fresh, kept)]
    check("the cells changed while they were executed", sources[0] == sources[1])
    size, text = os.path.getsize(committed), open(committed).read()
    check(f"{committed} has {size} bytes", size <= SIZE_MAX)
    # Outputs in base64 have slashes too, but no such names.
    places = re.findall(r"/(?:home|tmp|root|work|Users)/[\w./-]*", re.sub(r'"image/png": "[^"]*"', "", text))
    check(f"{committed} names {places}", not places)
    print(f"{len(fresh.cells)} cells, {len(fresh.pictures)} pictures, {len(fresh.tables)} tables; committed with outputs: {size} bytes")
    print(fresh.tables[-1].to_string(index=False))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
