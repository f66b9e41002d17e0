// Elements. Text is always text: nothing that comes from a log line is ever read as HTML.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 60;
const HEIGHT = 16;

export const at = (id) => document.getElementById(id);

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return made;
}

// Only where it changed: a screen reader speaks of changes.
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function definitions(pairs, kind = "facts") {
  const parts = pairs.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]);
  return element("dl", { class: kind }, ...parts);
}

// Values, the newest on the right; null is a gap.
export function sparkline(values, points = WIDTH) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "spark");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const most = Math.max(...values.map((value) => value ?? 0), 1e-9);
  const step = WIDTH / Math.max(points - 1, 1);
  const place = (value, index) => {
    const x = WIDTH - (values.length - 1 - index) * step;
    return `${x.toFixed(1)} ${(HEIGHT - 1 - (value / most) * (HEIGHT - 2)).toFixed(1)}`;
  };
  let path = "";
  values.forEach((value, index) => {
    if (value === null) return;
    const begins = index === 0 || values[index - 1] === null;
    path += `${begins ? "M" : "L"}${place(value, index)}`;
  });
  const line = document.createElementNS(SVG, "path");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}
