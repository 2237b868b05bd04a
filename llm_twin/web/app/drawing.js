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

const MANY = 20; // points, from which on single ones hide where the line goes

/** A line through [x, y] points, its ends labelled, drawn for `width` pixels. Many points are drawn faintly, with the
 * mean of the last tenth of them at each as the line. */
export function curve(points, what, width) {
  if (points.length < 2) return made("p", { class: "soft" }, "Nothing to draw yet");
  const [height, top, left, right, bottom] = [240, 30, 44, 12, 30];
  const xs = points.map(([x]) => x);
  const ys = points.map(([, y]) => y);
  const [first, last, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const x = (value) => left + ((value - first) / (last - first || 1)) * (width - left - right);
  const y = (value) => height - bottom - ((value - low) / (high - low || 1)) * (height - top - bottom);
  const path = (values) => values.map((value, i) => `${i ? "L" : "M"}${x(xs[i]).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  const many = points.length >= MANY ? Math.ceil(points.length / 10) : 1;
  const line = (value) => drawn("path", { d: `M${left} ${y(value)}H${width - right}`, class: "axis" });
  const text = (at, up, says, anchor = "start") => drawn("text", { x: at, y: up, "text-anchor": anchor }, says);
  return picture(
    `${what} from ${ys[0].toFixed(2)} at step ${first} to ${ys.at(-1).toFixed(2)} at step ${last}`,
    width,
    height,
    line(low),
    line(high),
    text(left - 6, y(high) + 4, high.toFixed(2), "end"),
    text(left - 6, y(low) + 4, low.toFixed(2), "end"),
    text(left, 16, many > 1 ? `${what}: each step, and the mean of the last ${many}` : what),
    text(left, height - 10, `step ${first}`),
    text(width - right, height - 10, `step ${last}`, "end"),
    ...(many > 1 ? [drawn("path", { d: path(ys), class: "line faint" })] : []),
    drawn("path", { d: path(means(ys, many)), class: "line" }),
  );
}

/** At each value the mean of the last `many`, itself included. */
function means(values, many) {
  return values.map((_, i) => {
    const behind = values.slice(Math.max(0, i + 1 - many), i + 1);
    return behind.reduce((sum, value) => sum + value, 0) / behind.length;
  });
}

/** The class of the colour of the step at `i`: steps of one name have one. */
export function colour(steps, i) {
  const names = [...new Set(steps.map(({ name }) => name))];
  return `bar-${names.indexOf(steps[i].name) % 6}`;
}

/** Bars one behind the other: what took how long. */
export function bars(steps, total) {
  const width = 640;
  let at = 0;
  const parts = steps.map(({ name, milliseconds }, i) => {
    const long = Math.max(1, (milliseconds / (total || 1)) * width);
    const bar = drawn("rect", { x: at.toFixed(1), y: 0, width: long.toFixed(1), height: 18, class: `bar ${colour(steps, i)}` });
    bar.append(drawn("title", {}, `${name}: ${milliseconds.toFixed(0)} ms`));
    at += long;
    return bar;
  });
  const says = steps.map(({ name, milliseconds }) => `${name} ${milliseconds.toFixed(0)} ms`).join(", ");
  return picture(says, width, 18, ...parts);
}
