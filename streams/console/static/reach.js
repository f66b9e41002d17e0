// "Why can't A reach B?": what is on this page that names A or B. It proves nothing that is not here.

import { element } from "./dom.js";
import { severity } from "./findings.js";
import { bytes, counted, eni, rate } from "./format.js";

const BETWEEN = /[^0-9A-Za-z:._<>=/()-]+/;

// What names both comes first, then findings, what is refused, and who talks.
export function answer(state, a, b) {
  const words = [a, b].map((word) => word.trim()).filter(Boolean);
  if (!words.length) return [element("p", {}, "Give an address or an interface.")];
  const found = [...findings(state), ...refused(state), ...talks(state)]
    .map(({ texts, parts }) => ({ parts, named: words.filter((word) => texts.some((text) => names(text, word))).length }))
    .filter(({ named }) => named)
    .sort((one, other) => other.named - one.named);
  if (found.length) return [element("ul", { class: "answers" }, ...found.map(({ parts }) => element("li", {}, ...parts)))];
  return [element("p", {}, `Nothing here names ${words.join(" or ")}. That does not say that they can talk: only the ` +
    "busiest and the refused of the last minute are here.")];
}

// Whether a text has the whole word: 10.0.0.1 is not in 10.0.0.15.
function names(text, word) {
  return text === word || String(text ?? "").split(BETWEEN).some((part) => part.replace(/[.,:]+$/, "") === word);
}

function findings(state) {
  return state.findings.findings.map((one) => ({
    texts: [one.eni, one.source, one.target, one.sentence],
    parts: [severity(one.severity), one.sentence],
  }));
}

function refused(state) {
  return state.enis.rejected.map((row) => ({
    texts: [row.eni],
    parts: [`${eni(row.eni)}: ${rate(row.rejected)} refused records per second, of ${rate(row.flows)}`],
  }));
}

function talks(state) {
  return state.talkers.talkers.map((row) => ({
    texts: [row.client, row.server],
    parts: [`${row.client} talks to ${row.server} on ${row.port}: ${bytes(row.bytes)} in a minute, ` +
      `${counted(row.flows, "record")}, ${row.rejected ? `${row.rejected} of them refused` : "none refused"}`],
  }));
}
