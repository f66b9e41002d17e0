// "Why can't A reach B?": what is on this page that names A or B. It proves nothing that is not here.

import { element } from "./dom.js";
import { bytes, counted, eni, rate } from "./format.js";
import { severity } from "./findings.js";

const BETWEEN = /[^0-9A-Za-z:._<>=/-]+/;

// Whether a text has the whole word: 10.0.0.1 is not in 10.0.0.15.
function names(text, word) {
  return text === word || String(text ?? "").split(BETWEEN).some((part) => part.replace(/[.,:]+$/, "") === word);
}

function anyNames(texts, words) {
  return words.some((word) => texts.some((text) => names(text, word)));
}

export function answer(state, a, b) {
  const words = [a, b].map((word) => word.trim()).filter(Boolean);
  if (!words.length) return [element("p", {}, "Give an address or an interface.")];
  const found = [...talks(state, words), ...findings(state, words), ...refused(state, words)];
  if (found.length) return [element("ul", { class: "answers" }, ...found)];
  return [element("p", {}, `Nothing here names ${words.join(" or ")}. That does not say that they can talk: only the ` +
    "busiest and the refused of the last minute are here.")];
}

function findings(state, words) {
  const naming = state.findings.findings.filter((one) =>
    anyNames([one.eni, one.source, one.target, one.sentence], words));
  return naming.map((one) => element("li", {}, severity(one.severity), one.sentence));
}

function refused(state, words) {
  const naming = state.enis.rejected.filter((row) => anyNames([row.eni], words));
  return naming.map((row) =>
    element("li", {}, `${eni(row.eni)}: ${rate(row.rejected)} refused records per second, of ${rate(row.flows)}`));
}

function talks(state, words) {
  const naming = state.talkers.talkers.filter((row) => anyNames([row.client, row.server], words));
  return naming.map((row) => element("li", {},
    `${row.client} talks to ${row.server} on ${row.port}: ${bytes(row.bytes)} in a minute, ` +
    `${counted(row.flows, "record")}, ${row.rejected ? `${row.rejected} of them refused` : "none refused"}`));
}
