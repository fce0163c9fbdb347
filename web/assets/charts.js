// Curves: uPlot with the page's colours. It knows arrays of numbers, not runs.

"use strict";

/** Colours of the page as they are now. */
function pageColour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim() || "gray";
}

/** 12345678 as "12.3 M": short enough for an axis. */
function shortNumber(x, digits = 3) {
  const size = Math.abs(x);
  for (const [unit, scale] of [["T", 1e12], ["G", 1e9], ["M", 1e6], ["k", 1e3]]) {
    if (size >= scale) return `${+(x / scale).toPrecision(digits)} ${unit}`;
  }
  return String(+x.toPrecision(digits));
}

/** The numbers of an axis, with as many digits as tell them apart. */
function axisLabels(numbers) {
  const labels = (digits) => numbers.map((x) => shortNumber(x, digits));
  let digits = 3;
  while (digits < 8 && new Set(labels(digits)).size < numbers.length) digits += 1;
  return labels(digits);
}

/**
 * A chart in an element that has its height from the style sheet. `series` are names of colours (custom properties); a goal is a number
 * that is drawn as a level line; numbers below `least` lie outside. The numbers under the cursor are told, as those of `names`; a part is
 * looked at more closely by dragging over it, and all again after a double click.
 */
function lineChart(element, series, { goal = null, fromZero = false, least = -Infinity, names = [] } = {}) {
  let plot = null;
  let data = [[0], ...series.map(() => [null])];
  let isWhole = true;
  const told = document.createElement("p");
  told.className = "told";
  told.setAttribute("aria-hidden", "true");
  element.append(told);

  function options() {
    const muted = pageColour("--role-muted");
    const axis = {
      stroke: muted,
      grid: { stroke: pageColour("--role-rule"), width: 1 },
      ticks: { show: false },
      font: "12px system-ui, sans-serif",
      values: (_, splits) => axisLabels(splits),
    };
    const { width, height } = element.getBoundingClientRect();
    return {
      width: Math.max(60, Math.floor(width)),
      height: Math.max(60, Math.floor(height)),
      legend: { show: false },
      cursor: { drag: { x: true, y: false }, points: { size: 7 } },
      scales: { x: { time: false }, y: { range: (_, low, high) => reach(low, high) } },
      axes: [{ ...axis, size: 26 }, { ...axis, size: 50 }],
      series: [{}, ...series.map((colour) => ({
        stroke: pageColour(colour),
        width: 2,
        spanGaps: true,
        points: { show: false },
      }))],
      hooks: { draw: goal === null ? [] : [drawGoal], setCursor: [tell], setScale: [noteScale] },
    };
  }

  /** The numbers at the cursor, each in the colour of its curve; of a curve with gaps the last one before it. */
  function tell({ cursor: { idx } }) {
    const parts = [];
    data.slice(1).forEach((curve, i) => {
      let at = idx ?? -1;
      while (at >= 0 && curve[at] === null) at -= 1;
      if (at < 0) return;
      const number = document.createElement("span");
      number.style.color = `var(${series[i]})`;
      number.textContent = `${names[i] ?? ""} ${shortNumber(curve[at])}`.trim();
      parts.push(...(parts.length ? [", ", number] : [number]));
    });
    if (parts.length) parts.push(` at ${shortNumber(data[0][idx])}${isWhole ? "" : "; double click: all of it"}`);
    told.replaceChildren(...parts);
  }

  function noteScale({ scales: { x } }, name) {
    if (name === "x") isWhole = !(x.min > data[0][0] || x.max < data[0][data[0].length - 1]);
  }

  /** A little more than the numbers, and the goal. */
  function reach(low, high) {
    if (low === null || high === null) [low, high] = [0, 1];
    if (goal !== null) [low, high] = [Math.min(low, goal), Math.max(high, goal)];
    if (fromZero) low = Math.min(0, low);
    [low, high] = [Math.max(low, least), Math.max(high, least)];
    const margin = 0.06 * (high - low || Math.abs(high) || 1);
    return [fromZero && low === 0 ? 0 : low - margin, high + margin];
  }

  function drawGoal({ ctx, bbox, valToPos }) {
    const y = valToPos(goal, "y", true);
    ctx.save();
    ctx.strokeStyle = pageColour("--paint-limb");
    ctx.lineWidth = 1.5 * devicePixelRatio;
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.restore();
  }

  function make() {
    plot?.destroy();
    plot = new uPlot(options(), data, element);
  }

  make();
  new ResizeObserver(() => {
    const { width, height } = element.getBoundingClientRect();
    if (width > 0) plot.setSize({ width: Math.floor(width), height: Math.floor(height) });
  }).observe(element);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", make);
  return {
    /** Arrays of the same length, the horizontal one first; `isOther` where that is another quantity than before. */
    set(curves, isOther = false) {
      data = curves;
      isWhole ||= isOther;
      plot.setData(data, isWhole);
      // What is looked at closely stays where it is.
      if (!isWhole) plot.redraw();
    },
  };
}

/** The two buttons that choose what curves are over; `choose` is told the one that was pressed. */
function onAxis(choose) {
  const buttons = ["frames", "seconds"].map((name) => [name, document.getElementById(`over-${name}`)]);
  for (const [name, button] of buttons) {
    button.addEventListener("click", () => {
      for (const [other, its] of buttons) its.setAttribute("aria-pressed", String(other === name));
      choose(name);
    });
  }
}
