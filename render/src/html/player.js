// Plays the episode that lies in the page as JSON (render/src/html.rs): moments with shapes, and what the policy made of each.

"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const episode = JSON.parse($("episode").textContent);
  const moments = wholeMoments(episode.moments);
  const last = moments.length - 1;
  const SPEEDS = [0.1, 0.25, 0.5, 1, 2, 4];

  let place = 0; // in moments, between two of them while it plays
  let playing = false;
  let speed = 1;
  let clock = null; // when the last frame was drawn
  let colour = coloursOf(document.documentElement);

  /** Moments with all of their shapes: null stands for the shape at the same place in the moment before. */
  function wholeMoments(moments) {
    let before = [];
    return moments.map((moment) => {
      before = moment.shapes.map((shape, i) => shape ?? before[i]);
      return { ...moment, shapes: before };
    });
  }

  // Numbers as in the pictures (render/src/words.rs).
  const NONE = "–";
  const isNumber = (x) => typeof x === "number";
  const minus = (text) => text.replace("-", "−");
  function estimate(x) {
    if (!isNumber(x)) return NONE;
    const size = Math.abs(x);
    if (size >= 1e7) return minus(x.toExponential(1));
    return minus(x.toFixed(size < 10 ? 2 : size < 1000 ? 1 : 0));
  }
  const amount = (x) => (Number.isInteger(x) && Math.abs(x) < 1e7 ? minus(String(x)) : estimate(x));
  const reward = (x) => (x > 0 ? "+" : "") + amount(x);
  const percent = (x) => (isNumber(x) ? `${Math.round(100 * x)} %` : NONE);

  const now = () => Math.min(last, Math.floor(place));

  // ---- What is seen

  /** A row for each action, made once; of many actions only the chosen one is seen. */
  const rows = episode.actions.map((name) => {
    const row = document.createElement("div");
    row.className = "bar";
    const [label, share, track, fill] = ["span", "span", "i", "b"].map((tag) => document.createElement(tag));
    label.textContent = name;
    track.append(fill);
    row.append(label, share, track);
    $("actions").append(row);
    return { row, share, fill };
  });
  const areMany = rows.length > 4;

  function drawScene() {
    const { context, width, height } = fitCanvas($("scene"));
    drawShapes(context, episode.size, moments[now()].shapes, width, height, colour, drawScene);
  }

  const [lower, upper] = episode.scale ?? [0, 0];
  $("upper").textContent = episode.scale ? estimate(upper) : "";
  $("lower").textContent = upper > lower ? estimate(lower) : "";

  const INSET = 6; // room for the dot
  function drawCurve() {
    const { context, width, height } = fitCanvas($("curve"));
    const x = (i) => INSET + (i / Math.max(1, last)) * (width - 2 * INSET);
    const share = (value) => (upper > lower ? (value - lower) / (upper - lower) : 0.5);
    const y = (value) => INSET + (1 - share(value)) * (height - 2 * INSET);
    const line = (until, role) => {
      context.beginPath();
      for (let i = 0; i <= until; i++) if (isNumber(moments[i].value)) context.lineTo(x(i), y(moments[i].value));
      context.strokeStyle = colour("role", role);
      context.lineWidth = 2;
      context.lineJoin = "round";
      context.stroke();
    };
    line(last, "rule");
    line(now(), "accent");
    let at = now();
    while (at > 0 && !isNumber(moments[at].value)) at--;
    if (!isNumber(moments[at].value)) return;
    context.beginPath();
    context.arc(x(at), y(moments[at].value), 4.5, 0, 2 * Math.PI);
    context.fillStyle = colour("role", "accent");
    context.fill();
  }

  function drawNumbers() {
    const moment = moments[now()];
    $("step").textContent = now();
    $("reward").textContent = reward(moment.reward);
    $("value").textContent = estimate(moment.value);
    $("return").textContent = amount(moment.return);
    const decides = moment.shares !== undefined;
    $("ending").hidden = decides;
    $("actions").hidden = !decides;
    if (!decides) return;
    rows.forEach(({ row, share, fill }, action) => {
      const isChosen = moment.components !== undefined || action === moment.action;
      row.classList.toggle("chosen", isChosen);
      row.hidden = areMany && !isChosen;
      share.textContent = moment.components?.[action] ?? percent(moment.shares[action]);
      fill.style.width = `${100 * (moment.shares[action] ?? 0)}%`;
    });
  }

  function draw() {
    drawScene();
    drawCurve();
    drawNumbers();
    $("place").value = now();
    $("place").setAttribute("aria-valuetext", `step ${now()} of ${last}`);
  }

  /** In words, for who does not see it; said when it stands still. */
  function describe() {
    const moment = moments[now()];
    const doing = moment.components
      ? moment.components.map((told, component) => `${episode.actions[component]} ${told}`).join(", ")
      : `${episode.actions[moment.action]}, ${percent(moment.shares?.[moment.action])} probable`;
    const choice = moment.shares ? `action ${doing}, value ${estimate(moment.value)}` : episode.ending;
    return `Step ${now()} of ${last}: ${choice}, reward ${reward(moment.reward)}, return ${amount(moment.return)}.`;
  }

  // ---- What is done

  function frame(time) {
    if (!playing) return;
    // A page that was hidden goes on where it was.
    const passed = clock === null ? 0 : Math.min(0.25, (time - clock) / 1000);
    clock = time;
    place += passed * speed * episode.steps_per_second;
    if (place >= last) {
      place = last;
      pause();
    }
    draw();
    if (playing) requestAnimationFrame(frame);
  }

  function play() {
    if (place >= last) place = 0;
    [playing, clock] = [true, null];
    showState();
    requestAnimationFrame(frame);
  }

  function pause() {
    playing = false;
    place = now();
    showState();
    $("said").textContent = describe();
  }

  function showState() {
    document.body.classList.toggle("playing", playing);
    const label = playing ? "Pause" : place >= last ? "Play again" : "Play";
    $("play").setAttribute("aria-label", label);
    $("play").title = `${label} (space)`;
  }

  function goTo(target) {
    place = Math.max(0, Math.min(last, target));
    pause();
    draw();
  }

  function setSpeed(index) {
    speed = SPEEDS[Math.max(0, Math.min(SPEEDS.length - 1, index))];
    $("speed").value = String(speed);
  }

  $("play").addEventListener("click", () => (playing ? pause() : play()));
  $("back").addEventListener("click", () => goTo(now() - 1));
  $("forward").addEventListener("click", () => goTo(now() + 1));
  $("place").addEventListener("input", (event) => goTo(Number(event.target.value)));
  $("speed").addEventListener("change", (event) => setSpeed(SPEEDS.indexOf(Number(event.target.value))));

  const keys = {
    " ": () => (playing ? pause() : play()),
    ArrowLeft: () => goTo(now() - 1),
    ArrowRight: () => goTo(now() + 1),
    ArrowUp: () => setSpeed(SPEEDS.indexOf(speed) + 1),
    ArrowDown: () => setSpeed(SPEEDS.indexOf(speed) - 1),
    Home: () => goTo(0),
    End: () => goTo(last),
  };
  document.addEventListener("keydown", (event) => {
    const { tagName, id } = document.activeElement ?? {};
    // A list and a focused button have meanings of their own for some of these keys.
    const isTaken = tagName === "SELECT" || (event.key === " " && tagName === "BUTTON" && id !== "play");
    if (isTaken || event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });

  const curve = $("curve");
  function scrub(event) {
    const { left, width } = curve.getBoundingClientRect();
    goTo(Math.round(((event.clientX - left - INSET) / (width - 2 * INSET)) * last));
  }
  curve.addEventListener("pointerdown", (event) => {
    curve.setPointerCapture(event.pointerId);
    scrub(event);
  });
  curve.addEventListener("pointermove", (event) => {
    if (curve.hasPointerCapture(event.pointerId)) scrub(event);
  });

  // ---- The beginning

  const [planeWidth, planeHeight] = episode.size;
  document.body.classList.toggle("tall", planeWidth < 1.2 * planeHeight);
  $("scene").style.aspectRatio = `${planeWidth} / ${planeHeight}`;
  $("title").textContent = episode.title;
  $("source").textContent = episode.source;
  $("ending").textContent = episode.ending;
  $("scene").setAttribute("aria-label", `${episode.title}: ${last} steps, return ${amount(moments[last].return)}, ${episode.ending}`);
  $("place").max = last;
  SPEEDS.forEach((choice) => $("speed").add(new Option(`${choice}×`, choice)));
  setSpeed(SPEEDS.indexOf(1));

  new ResizeObserver(draw).observe($("scene"));
  new ResizeObserver(draw).observe(curve);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    colour = coloursOf(document.documentElement);
    draw();
  });
  draw();
  showState();
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) play();
})();
