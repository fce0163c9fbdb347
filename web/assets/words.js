// Numbers in words, the same on every page. What is not known is a dash.

"use strict";

const NONE = "–";
const isNumber = (x) => typeof x === "number";
const wholeNumber = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const count = (x) => (isNumber(x) ? wholeNumber.format(x).replaceAll(",", "\u202f") : NONE);
const real = (x, digits = 1) => (isNumber(x) ? x.toFixed(digits).replace("-", "−") : NONE);
const percent = (x) => (isNumber(x) ? `${Math.round(100 * x)} %` : NONE);
const megabytes = (x) => (isNumber(x) ? `${count(x / 1e6)} MB` : NONE);

/** Three digits that count, whatever the size: 0.000 204 is 2.04e-4. */
function small(x) {
  if (!isNumber(x)) return NONE;
  const text = x !== 0 && Math.abs(x) < 1e-3 ? x.toExponential(2) : String(+x.toPrecision(3));
  return text.replaceAll("-", "−");
}

function duration(seconds) {
  if (!isNumber(seconds)) return NONE;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const s = Math.floor(seconds);
  const two = (x) => String(x).padStart(2, "0");
  const [h, m] = [Math.floor(s / 3600), Math.floor(s / 60) % 60];
  return h > 0 ? `${h}:${two(m)}:${two(s % 60)} h` : m > 0 ? `${m}:${two(s % 60)} min` : `${s} s`;
}
