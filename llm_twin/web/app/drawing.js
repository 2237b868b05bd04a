// Drawings from numbers: a curve, and the steps of an answer as bars. Each says in words what it shows.

import { made } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";

function drawn(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function picture(says, width, height, ...children) {
  const title = drawn("title", {}, says);
  return drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", class: "drawing", "aria-label": says }, title, ...children);
}

/** A line through [x, y] points, its ends labelled. */
export function curve(points, what) {
  if (points.length < 2) return made("p", { class: "soft" }, "Nothing to draw yet");
  const [width, height, edge] = [640, 220, 34];
  const xs = points.map(([x]) => x);
  const ys = points.map(([, y]) => y);
  const [left, right] = [Math.min(...xs), Math.max(...xs)];
  const [low, high] = [Math.min(...ys), Math.max(...ys)];
  const x = (value) => edge + ((value - left) / (right - left || 1)) * (width - 2 * edge);
  const y = (value) => height - edge - ((value - low) / (high - low || 1)) * (height - 2 * edge);
  const path = points.map(([a, b], i) => `${i ? "L" : "M"}${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join("");
  const first = ys[0].toFixed(2);
  const last = ys.at(-1).toFixed(2);
  return picture(
    `${what} from ${first} at step ${left} to ${last} at step ${right}`,
    width,
    height,
    drawn("path", { d: `M${edge} ${height - edge}H${width - edge}`, class: "axis" }),
    drawn("path", { d: path, class: "line" }),
    drawn("text", { x: edge, y: 18 }, `${what} ${high.toFixed(2)} to ${low.toFixed(2)}`),
    drawn("text", { x: edge, y: height - 10 }, `step ${left}`),
    drawn("text", { x: width - edge, y: height - 10, "text-anchor": "end" }, `step ${right}`),
  );
}

/** Bars one behind the other: what took how long. */
export function bars(steps, total) {
  const width = 640;
  let at = 0;
  const parts = steps.map(({ name, milliseconds }, i) => {
    const long = Math.max(1, (milliseconds / (total || 1)) * width);
    const bar = drawn("rect", { x: at.toFixed(1), y: 0, width: long.toFixed(1), height: 18, class: `bar bar-${i % 4}` });
    bar.append(drawn("title", {}, `${name}: ${milliseconds.toFixed(0)} ms`));
    at += long;
    return bar;
  });
  const says = steps.map(({ name, milliseconds }) => `${name} ${milliseconds.toFixed(0)} ms`).join(", ");
  return picture(says, width, 18, ...parts);
}
