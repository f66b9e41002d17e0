// Findings as a list that opens: each with its numbers, what it means and what to do. What is open stays open.

import { definitions, element, write } from "./dom.js";
import { count, day } from "./format.js";

const ABOUT = [["eni", "interface"], ["source", "source"], ["target", "target"], ["service", "service"]];

export function severity(name) {
  return element("span", { class: `severity ${name}` }, name);
}

export function list(node) {
  const items = new Map();

  return ({ findings, detectors }) => {
    const gone = new Set(items.keys());
    findings.forEach((finding, index) => {
      gone.delete(finding.id);
      const item = items.get(finding.id) ?? added(finding, items);
      fill(item, finding, detectors[finding.detector]);
      if (node.children[index] !== item) node.insertBefore(item, node.children[index] ?? null);
    });
    for (const id of gone) {
      items.get(id).remove();
      items.delete(id);
    }
  };
}

function added(finding, items) {
  const summary = element("summary", {}, severity(finding.severity), element("span", { class: "sentence" }),
    element("span", { class: "when" }));
  const item = element("li", {}, element("details", {}, summary, element("div", { class: "evidence" })));
  items.set(finding.id, item);
  return item;
}

// Moving an element takes the focus away, so it is filled where it is, and only where something changed.
function fill(item, finding, detector) {
  const version = JSON.stringify(finding);
  if (item.version === version) return;
  item.version = version;
  const badge = item.querySelector(".severity");
  badge.className = `severity ${finding.severity}`;
  write(badge, finding.severity);
  write(item.querySelector(".sentence"), finding.sentence);
  write(item.querySelector(".when"), day(finding.last_seen));
  item.querySelector(".evidence").replaceChildren(...body(finding, detector));
}

function body(finding, detector) {
  const about = ABOUT.filter(([key]) => finding[key] !== null).map(([key, title]) => [title, finding[key]]);
  const facts = [
    ["detector", finding.detector], ...about, ["first seen", day(finding.first_seen)],
    ["last seen", day(finding.last_seen)], ["records", count(finding.count)],
  ];
  const numbers = Object.entries(finding.evidence).map(([name, value]) => [name.replaceAll("_", " "), plain(value)]);
  const parts = [element("h3", {}, "What was seen"), definitions(facts)];
  if (numbers.length) parts.push(element("h3", {}, "Evidence"), definitions(numbers));
  if (!detector) return parts;
  parts.push(element("h3", {}, detector.title), element("p", {}, detector.explanation));
  parts.push(element("h3", {}, "What to do"), element("p", {}, detector.runbook));
  if (detector.attack.length) parts.push(element("p", { class: "note" }, `ATT&CK: ${detector.attack.join(", ")}`));
  return parts;
}

function plain(value) {
  if (typeof value === "number") return Number.isInteger(value) ? count(value) : String(value);
  return typeof value === "string" ? value : JSON.stringify(value);
}
