// Runs beside each other (web/src/archive.rs). It only reads, and asks again now and then, for runs that are under way.

"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const CHOSEN_MAX = 8;
  const COLOURS = ["--role-accent", "--second", "--third", "--fourth", "--fifth", "--sixth", "--seventh", "--eighth"];

  // Of some tasks all returns lie between 0 and 1.
  const returned = (x) => real(x, Math.abs(x) < 10 ? 3 : 1);
  const result = ({ state, detail }) => (state === "ended" ? detail.replaceAll("_", " ") : state);

  let runs = [];
  const chosen = new Map(); // name -> curves, null while they are on their way
  let over = "frames";
  let isFirst = true;

  const COLUMNS = [
    (run) => result(run.result),
    (run) => count(run.frames),
    (run) => real(run.seconds),
    (run) => count(run.solved_after),
    (run) => returned(run.mean_return),
    (run) => returned(run.evaluated_return),
    (run) => run.environment ?? NONE,
    (run) => (isNumber(run.seed) ? String(run.seed) : NONE),
  ];

  function rowOf(run) {
    const row = document.createElement("tr");
    const name = row.insertCell();
    const label = document.createElement("label");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.addEventListener("change", () => choose(run.name, box.checked));
    label.append(box, ` ${run.name}`);
    name.append(label);
    COLUMNS.forEach(() => row.insertCell());
    row.dataset.name = run.name;
    return row;
  }

  function showRuns() {
    const body = $("runs");
    const known = new Map([...body.rows].map((row) => [row.dataset.name, row]));
    const rows = runs.map((run) => known.get(run.name) ?? rowOf(run));
    if (rows.length !== body.rows.length || rows.some((row, i) => row !== body.rows[i])) body.replaceChildren(...rows);
    runs.forEach((run, i) => {
      COLUMNS.forEach((text, column) => {
        const cell = rows[i].cells[column + 1];
        const told = text(run);
        if (cell.textContent !== told) cell.textContent = told;
      });
      const box = rows[i].querySelector("input");
      box.checked = chosen.has(run.name);
      box.disabled = !box.checked && chosen.size >= CHOSEN_MAX;
    });
    $("count").textContent = runs.length === 0 ? "none here yet" : `${runs.length}, the newest first`;
  }

  async function choose(name, isChosen) {
    if (isChosen) {
      chosen.set(name, null);
      await ask(name);
    } else chosen.delete(name);
    show();
  }

  async function ask(name) {
    const answer = await fetch(`/api/runs/${encodeURIComponent(name)}`).catch(() => null);
    if (answer?.ok && chosen.has(name)) chosen.set(name, await answer.json());
  }

  let chart = null;
  let drawn = "";

  function draw(isOther = false) {
    const shown = [...chosen].filter(([, run]) => run);
    const goals = new Set(shown.map(([, run]) => run.solved_return).filter(isNumber));
    const goal = goals.size === 1 ? [...goals][0] : null;
    const key = JSON.stringify([shown.length, goal]);
    if (key !== drawn) {
      $("curves").replaceChildren();
      chart = lineChart($("curves"), COLOURS.slice(0, Math.max(1, shown.length)), { goal });
      drawn = key;
    }
    // One axis for all: every place that one of them has.
    const places = [...new Set(shown.flatMap(([, run]) => run[over]))].sort((a, b) => a - b);
    const curves = shown.map(([, run]) => {
      const at = new Map(run[over].map((x, i) => [x, run.mean_return[i]]));
      return places.map((x) => at.get(x) ?? null);
    });
    chart.set(shown.length ? [places, ...curves] : [[0], [null]], isOther);
    $("legend").replaceChildren(...shown.map(([name], i) => {
      const item = document.createElement("li");
      const mark = document.createElement("i");
      mark.style.background = `var(${COLOURS[i]})`;
      item.append(mark, name);
      return item;
    }));
  }

  /** Settings and summary of each chosen run, to be opened. */
  function showDetails() {
    const known = new Map([...$("details").children].map((part) => [part.dataset.name, part]));
    $("details").replaceChildren(...[...chosen].filter(([, run]) => run).map(([name, run]) => {
      if (known.has(name)) return known.get(name);
      const part = document.createElement("details");
      part.className = "card";
      part.dataset.name = name;
      const summary = document.createElement("summary");
      summary.textContent = name;
      part.append(summary);
      for (const text of [run.summary, run.settings]) {
        if (!text) continue;
        const lines = document.createElement("pre");
        lines.textContent = text;
        part.append(lines);
      }
      return part;
    }));
  }

  function show() {
    showRuns();
    draw();
    showDetails();
  }

  async function refresh() {
    const answer = await fetch("/api/runs").catch(() => null);
    if (!answer?.ok) {
      $("count").textContent = answer ? await answer.text() : "no answer, asking again";
      return;
    }
    const before = new Map(runs.map((run) => [run.name, run.frames]));
    runs = (await answer.json()).reverse();
    if (isFirst) runs.slice(0, 3).forEach((run) => chosen.set(run.name, null));
    isFirst = false;
    for (const name of chosen.keys()) if (!runs.some((run) => run.name === name)) chosen.delete(name);
    const changed = runs.filter((run) => chosen.has(run.name) && (!chosen.get(run.name) || before.get(run.name) !== run.frames));
    await Promise.all(changed.map((run) => ask(run.name)));
    show();
  }

  onAxis((name) => {
    over = name;
    draw(true);
  });
  refresh();
  setInterval(() => !document.hidden && refresh(), 3000);
})();
