// Lines over the last minutes. A chart has its last figures as text too; lines differ in more than their colour.

import uPlot from "./vendor/uPlot/uPlot.esm.js";

const HEIGHT = 170;
const dark = matchMedia("(prefers-color-scheme: dark)");

function clock(epoch) {
  return epoch === undefined ? "" : new Date(epoch * 1000).toISOString().slice(11, 19);
}

// lines: [{ label, colour: name of a CSS variable, dash }]; show: a number as text
export function chart(node, title, lines, show) {
  let plot = null;
  let data = [[], ...lines.map(() => [])];

  function colour(name) {
    return getComputedStyle(node).getPropertyValue(name).trim();
  }

  function axis(more) {
    const grid = { stroke: colour("--grid"), width: 1 };
    return { stroke: colour("--quiet"), grid, ticks: grid, font: `12px ${getComputedStyle(node).fontFamily}`, ...more };
  }

  function build() {
    plot?.destroy();
    const width = node.clientWidth;
    if (!width) return;
    plot = new uPlot({
      width,
      height: HEIGHT,
      tzDate: (epoch) => uPlot.tzDate(new Date(epoch * 1000), "Etc/UTC"),
      padding: [10, 32, 0, 0],
      cursor: { y: false, points: { size: 7 } },
      scales: { y: { range: (_, least, most) => [0, Math.max(most * 1.1, 1)] } },
      axes: [
        axis({ space: 70, values: (_, splits) => splits.map(clock) }),
        axis({ size: 70, values: (_, splits) => splits.map(show) }),
      ],
      series: [
        { label: "UTC", value: (_, at) => clock(at ?? data[0].at(-1)) },
        ...lines.map((line, index) => ({
          label: line.label,
          stroke: colour(line.colour),
          width: 2,
          dash: line.dash,
          points: { show: false },
          value: (_, number) => show(number ?? data[index + 1].at(-1) ?? null),
        })),
      ],
    }, data, node);
  }

  new ResizeObserver(() => {
    if (!plot) build();
    else if (node.clientWidth) plot.setSize({ width: node.clientWidth, height: HEIGHT });
  }).observe(node);
  dark.addEventListener("change", build);

  return (times, ...values) => {
    data = [times, ...values];
    const last = lines.map((line, index) => `${show(values[index].at(-1) ?? 0)} ${line.label}`);
    node.setAttribute("aria-label", times.length ? `${title}, at the moment: ${last.join(", ")}` : `${title}: not known yet`);
    if (plot) plot.setData(data);
    else build();
  };
}
