// The live view of a run: asks once what stays, then follows the stream of what changes (web/src/live.rs). It only reads.

"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const POINTS_MAX = 1024;
  const ACCOUNT = ["produced", "trained", "refused", "lost", "in flight"];

  // ---- Texts

  /** Changes a text only where it differs, so that nothing else of the page is laid out anew. */
  function say(id, text) {
    const element = $(id);
    if (element.textContent !== text) element.textContent = text;
  }

  /** The same, with flags as what they are: none breaks after its dashes. */
  function sayWithFlags(id, text) {
    const element = $(id);
    if (element.textContent === text) return;
    element.replaceChildren(...text.split(/(--[a-z-]+)/).map((part, i) => {
      if (i % 2 === 0) return part;
      const flag = document.createElement("code");
      flag.textContent = part;
      return flag;
    }));
  }

  // ---- What is known

  let about = null;
  let history = null; // arrays of the same length, of at most POINTS_MAX points
  let skipped = 0;
  let stride = 1;
  let newest = null;
  let over = "frames";
  let charts = null;
  let lastFrame = null;
  let sceneColour = coloursOf(document.documentElement);

  function makeCharts() {
    const make = (id, series, options) => {
      $(id).replaceChildren();
      return lineChart($(id), series, options);
    };
    charts = {
      mean: make("return-chart", ["--role-accent", "--second"], { goal: about.goal, names: ["training", "evaluated"] }),
      speed: make("speed-chart", ["--role-accent"], { fromZero: true }),
      entropy: make("entropy-chart", ["--role-accent"], { fromZero: true }),
      // Before it has learned anything it may lie at minus a hundred.
      explained: make("explained-chart", ["--role-accent"], { least: -1 }),
      loss: make("loss-chart", ["--role-accent"]),
    };
  }

  function drawCurves(isOther = false) {
    const x = history[over];
    charts.mean.set([x, history.mean_return, history.evaluated], isOther);
    charts.speed.set([x, history.frames_per_second], isOther);
    charts.entropy.set([x, history.entropy], isOther);
    charts.explained.set([x, history.explained_variance], isOther);
    charts.loss.set([x, history.loss], isOther);
    $("legend-evaluated").hidden = !history.evaluated.some(isNumber);
  }

  function addPoint(told) {
    const last = history.frames.length - 1;
    if (last >= 0 && told.frames <= history.frames[last]) return;
    if (++skipped < stride) return;
    skipped = 0;
    const point = {
      frames: told.frames,
      seconds: told.seconds,
      mean_return: told.mean_return,
      evaluated: null,
      frames_per_second: told.frames_per_second,
      entropy: told.entropy,
      explained_variance: told.explained_variance,
      loss: told.losses.total ?? null,
      lag: told.lag_mean,
    };
    for (const [name, value] of Object.entries(point)) history[name].push(value);
    placeEvaluation(told);
    if (history.frames.length > POINTS_MAX) {
      stride *= 2;
      const evaluated = history.evaluated;
      for (const name of Object.keys(history)) history[name] = history[name].filter((_, i) => i % 2 === 0);
      history.evaluated = history.evaluated.map((mean, i) => mean ?? evaluated[2 * i - 1] ?? null);
    }
  }

  /** The newest evaluation stands where its policy stood, which was some time ago. */
  function placeEvaluation(told) {
    if (!isNumber(told.evaluated_frames)) return;
    const place = history.frames.findIndex((frames) => frames >= told.evaluated_frames);
    if (place >= 0) history.evaluated[place] = told.evaluated;
  }

  // ---- What is shown

  function showAbout() {
    say("environment", `${about.environment}, seed ${about.seed}`);
    say("run", about.run);
    say("settings", about.settings);
    say("about", `impala ${about.version}; ${about.network}; on ${about.device}`);
    if (about.not_drawn) say("no-scene", about.not_drawn);
    document.title = `${about.environment} · impala`;
  }

  function showState(told) {
    const isSolved = isNumber(told.solved_after);
    const name = told.is_verifying ? "solved?" : isSolved ? `${told.state}, solved` : told.state;
    say("state-name", name);
    $("state").className = `state ${isSolved ? "solved" : told.state}`;
    $("state").title = told.reason;
  }

  function showNumbers(told) {
    say("mean", real(told.mean_return));
    const solved = isNumber(told.solved_after) ? `solved after ${shortNumber(told.solved_after)}` : `goal ${about.goal}`;
    const evaluated = isNumber(told.evaluated) ? `, eval ${real(told.evaluated)}` : "";
    say("goal", solved + evaluated);
    say("frames", count(told.frames));
    // Whoever is solved trains on for as long as it was asked to.
    const budget = isNumber(told.solved_after) ? "" : `of ${shortNumber(about.frames_max)}, `;
    say("budget", `${budget}${count(told.episodes)} episodes`);
    say("speed", count(told.frames_per_second));
    say("updates", `${count(told.updates)} updates`);
    say("time", duration(told.seconds));
    say("left", told.state === "training" ? `${duration(told.seconds_left)} left` : told.reason || "\u00a0");
    say("actors", count(told.actors));
    say("blocked", isNumber(told.actors_blocked) ? `${percent(told.actors_blocked)} waiting` : "\u00a0");
    say("lag", real(told.lag_mean, 2));
    say("effective", `updates, ${percent(told.effective_samples)} effective`);
    sayWithFlags("limit-text", told.limit ? `Limited by ${told.limit}` : "What limits the run is not known yet.");
  }

  /** Rows of name, text and perhaps a share, made anew only when their names change. */
  function showRows(id, rows) {
    const body = $(id);
    if (body.rows.length !== rows.length) {
      body.replaceChildren(...rows.map(() => {
        const row = document.createElement("tr");
        const name = document.createElement("th");
        name.scope = "row";
        const value = document.createElement("td");
        value.className = "number";
        value.append(document.createElement("span"));
        row.append(name, value);
        return row;
      }));
    }
    rows.forEach(([name, text, share], i) => {
      const [head, cell] = body.rows[i].cells;
      if (head.textContent !== name) head.textContent = name;
      cell.firstChild.textContent = text;
      if (share === undefined) return;
      let meter = cell.querySelector(".meter");
      if (!meter) {
        meter = document.createElement("span");
        meter.className = "meter";
        meter.append(document.createElement("i"));
        cell.append(meter);
      }
      meter.firstChild.style.width = `${100 * Math.min(1, share ?? 0)}%`;
    });
  }

  function showLags(lags) {
    const total = lags.reduce((sum, n) => sum + n, 0);
    const bars = $("lags");
    if (bars.children.length !== lags.length) {
      bars.replaceChildren(...lags.map((_, lag) => {
        const column = document.createElement("div");
        column.append(document.createElement("i"), lag === lags.length - 1 && lag > 0 ? `${lag}+` : String(lag));
        return column;
      }));
    }
    const most = Math.max(1, ...lags);
    lags.forEach((n, lag) => {
      bars.children[lag].firstChild.style.height = `${(100 * n) / most * 0.84}%`;
      bars.children[lag].title = `${lag} updates: ${percent(total ? n / total : 0)}`;
    });
    bars.setAttribute("aria-label", lags.map((n, lag) => `${lag} updates ${percent(total ? n / total : 0)}`).join(", "));
  }

  function show(told) {
    newest = told;
    showState(told);
    showNumbers(told);
    showLags(told.lags);
    showRows("account", ACCOUNT.map((name) => [name, count(told.account[name])]));
    const ofUpdates = (x) => (told.updates > 0 ? x : null);
    showRows("learning", [
      ["value error", small(ofUpdates(told.value_error))],
      ["approximate KL, nats", small(ofUpdates(told.approximate_kl))],
      ["effective samples", percent(ofUpdates(told.effective_samples))],
      ["gradient norm", small(ofUpdates(told.gradient_norm))],
      ["learning rate", small(ofUpdates(told.learning_rate))],
      ["columns a batch", count(ofUpdates(told.batch_columns))],
    ]);
    showRows("busy", [
      ["learner works", percent(told.learner_busy), told.learner_busy],
      ["actors wait", percent(told.actors_blocked), told.actors_blocked ?? 0],
      ["cores of the learner's machine", percent(told.machine_busy), told.machine_busy ?? 0],
      ["memory of the learner", megabytes(told.memory)],
      ["newest checkpoint", isNumber(told.checkpoint) ? `update ${count(told.checkpoint)}` : "none"],
      ["checkpoints not written", count(told.checkpoints_failed)],
    ]);
    addPoint(told);
    drawCurves();
  }

  /** In words, for who does not see the curves: now and then. */
  function describe() {
    if (!newest) return;
    const text = `Mean return ${real(newest.mean_return)} after ${count(newest.frames)} frames, goal ${about.goal}`;
    $("return-chart").setAttribute("aria-label", text);
    $("speed-chart").setAttribute("aria-label", `${count(newest.frames_per_second)} frames a second`);
    $("entropy-chart").setAttribute("aria-label", `Entropy ${real(newest.entropy, 3)} nats`);
    $("explained-chart").setAttribute("aria-label", `Explained variance ${real(newest.explained_variance, 2)}`);
    $("loss-chart").setAttribute("aria-label", `Loss ${real(newest.losses.total, 3)}`);
  }

  function drawFrame() {
    if (!lastFrame) return;
    const { context, width, height } = fitCanvas($("scene"));
    drawShapes(context, lastFrame.scene.size, lastFrame.scene.shapes, width, height, sceneColour, drawFrame);
  }

  function showFrame(told) {
    lastFrame = told;
    $("no-scene").textContent = "\u00a0";
    drawFrame();
    say("play-update", `update ${count(told.update)}`);
    say("play-step", count(told.step));
    say("play-action", told.action ?? NONE);
    say("play-value", real(told.value));
    say("play-return", real(told.return, Number.isInteger(told.return) ? 0 : 2));
    if (told.returns.length > 0) {
      say("play-mean-of", told.returns.length === 1 ? "Last episode" : `Last ${told.returns.length} episodes`);
      say("play-mean", real(told.returns.reduce((sum, x) => sum + x, 0) / told.returns.length));
    }
  }

  // ---- The fleet

  const COLUMNS = [
    ["name", "actor", (a) => a.name],
    ["index", "index", (a) => count(a.index)],
    ["frames_per_second", "frames/s", (a) => count(a.frames_per_second)],
    ["version", "version", (a) => count(a.version)],
    ["lag", "lag, updates", (a) => real(a.lag, 2)],
    ["blocked", "waits", (a) => percent(a.blocked)],
    ["refused", "too old", (a) => percent(a.refused)],
    ["seconds_since", "last seen", (a) => (isNumber(a.seconds_since) ? `${duration(a.seconds_since)} ago` : NONE)],
  ];
  const PAGE = 20;
  const fleet = { offset: 0, sort: "index", descending: false, asked: 0 };

  function makeFleetHead() {
    $("fleet-head").replaceChildren(...COLUMNS.map(([sort, title]) => {
      const head = document.createElement("th");
      head.scope = "col";
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = title;
      button.addEventListener("click", () => {
        fleet.descending = fleet.sort === sort ? !fleet.descending : !["name", "index"].includes(sort);
        fleet.sort = sort;
        fleet.offset = 0;
        askForFleet();
      });
      head.append(button);
      return head;
    }));
  }

  async function askForFleet() {
    const number = ++fleet.asked;
    const { offset, sort, descending } = fleet;
    const query = new URLSearchParams({ offset, limit: PAGE, sort, descending });
    const answer = await fetch(`/api/fleet?${query}`).then((response) => response.json()).catch(() => null);
    // An answer to an earlier question is none to this one.
    if (!answer || number !== fleet.asked) return;
    if (offset >= answer.total && offset > 0) {
      fleet.offset = Math.max(0, PAGE * Math.floor((answer.total - 1) / PAGE));
      return;
    }
    showFleet(answer);
  }

  function showFleet({ total, actors }) {
    const body = $("fleet");
    while (body.rows.length > actors.length) body.deleteRow(-1);
    while (body.rows.length < actors.length) {
      const row = body.insertRow();
      COLUMNS.forEach(() => row.insertCell());
    }
    actors.forEach((actor, i) => COLUMNS.forEach(([, , text], column) => {
      const cell = body.rows[i].cells[column];
      const told = text(actor);
      if (cell.textContent !== told) cell.textContent = told;
    }));
    const end = fleet.offset + actors.length;
    say("fleet-page", total === 0 ? "none" : `${count(fleet.offset + 1)} to ${count(end)} of ${count(total)}`);
    $("fleet-back").disabled = fleet.offset === 0;
    $("fleet-on").disabled = end >= total;
    [...$("fleet-head").cells].forEach((head, column) => {
      const isIt = COLUMNS[column][0] === fleet.sort;
      if (isIt) head.setAttribute("aria-sort", fleet.descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
  }

  $("fleet-back").addEventListener("click", () => { fleet.offset = Math.max(0, fleet.offset - PAGE); askForFleet(); });
  $("fleet-on").addEventListener("click", () => { fleet.offset += PAGE; askForFleet(); });
  onAxis((name) => {
    over = name;
    if (history) drawCurves(true);
  });

  // ---- The stream

  let stream = null;
  let begins = 0;
  let isOver = false;

  /** What stays and what was, asked for anew whenever a stream opens: it may be another run, or another process of this one. */
  async function begin() {
    const number = ++begins;
    isOver = false;
    const ask = (path) => fetch(path).then((response) => response.json());
    const answers = await Promise.all([ask("/api/about"), ask("/api/history")]).catch(() => null);
    if (!answers || number !== begins) return;
    const isAnother = !about || about.run !== answers[0].run || about.goal !== answers[0].goal;
    [about, history] = answers;
    [skipped, stride] = [0, 1];
    if (isAnother || !charts) makeCharts();
    showAbout();
    drawCurves();
    if (newest) show(newest);
    askForFleet();
  }

  function follow() {
    stream = new EventSource("/events");
    stream.addEventListener("open", begin);
    stream.addEventListener("snapshot", (event) => {
      const told = JSON.parse(event.data);
      if (about && history) show(told);
      else newest = told;
    });
    stream.addEventListener("end", (event) => {
      isOver = true;
      show(JSON.parse(event.data));
      say("state-name", isNumber(newest.solved_after) ? "over, solved" : "over");
      say("play-update", "the run is over");
    });
    stream.addEventListener("frame", (event) => about && showFrame(JSON.parse(event.data)));
    stream.addEventListener("error", () => {
      // It asks again by itself, unless the answer was no stream.
      if (stream?.readyState === EventSource.CLOSED) setTimeout(() => !document.hidden && restart(), 2000);
      // It may be started again.
      if (isOver) return;
      say("state-name", "gone, asking again");
      $("state").className = "state lost";
    });
  }

  function restart() {
    stream?.close();
    follow();
  }

  // Nobody looks at a hidden page: nothing is sent to it, nothing is played for it.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      stream?.close();
      stream = null;
    } else if (!stream) follow();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    sceneColour = coloursOf(document.documentElement);
    drawFrame();
  });
  new ResizeObserver(drawFrame).observe($("scene"));
  makeFleetHead();
  setInterval(() => !document.hidden && about && askForFleet(), 2000);
  setInterval(describe, 5000);
  if (!document.hidden) follow();
})();
