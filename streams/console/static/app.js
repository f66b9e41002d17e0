// Asks the API every five seconds and shows what it says. No framework, no build; nothing leaves this host.

import { chart } from "./chart.js";
import { at, element, sparkline, write } from "./dom.js";
import { list } from "./findings.js";
import * as format from "./format.js";
import { answer } from "./reach.js";
import { table } from "./table.js";

const EVERY = 5000;
const PATIENCE = 10000;
const PARTS = ["overview", "enis", "ports", "talkers", "findings", "health"];
const TOKEN = "vpcflow-token";

const state = {};
let paused = false;
let asking = false;

// -- asking ---------------------------------------------------------------------------------------------------------

class Unauthorized extends Error {}

async function ask(part) {
  const token = sessionStorage.getItem(TOKEN);
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const reply = await fetch(`/api/v1/${part}`, { headers, cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
  if (reply.status === 401) throw new Unauthorized();
  const body = await reply.json();
  if (!reply.ok) throw new Error(body.error);
  return body;
}

async function refresh() {
  if (asking) return;
  asking = true;
  try {
    const bodies = await Promise.all(PARTS.map(ask));
    PARTS.forEach((part, index) => { state[part] = bodies[index]; });
    login(false);
    show();
  } catch (problem) {
    if (problem instanceof Unauthorized) login(true);
    else said("bad", `no answer from this worker: ${problem.message}`);
  } finally {
    asking = false;
  }
}

function login(needed) {
  const was = !at("login").hidden;
  at("login").hidden = !needed;
  at("main").hidden = needed;
  if (!needed) return;
  said("bad", "a token is needed");
  if (was && sessionStorage.getItem(TOKEN)) write(at("login-why"), "That token is not valid.");
  sessionStorage.removeItem(TOKEN);
  if (!was) at("token").focus();
}

// -- showing --------------------------------------------------------------------------------------------------------

function said(kind, text) {
  at("state").className = kind;
  write(at("state"), text);
}

const number = (title, value, show, more = {}) => ({ title, value, show: (row) => show(value(row)), number: true, ...more });
const text = (title, value, more = {}) => ({ title, value, show: value, ...more });
const trend = { title: "5 min", show: (row) => sparkline(row.history), minor: true };
const perSecond = [
  number("bytes/s", (row) => row.bytes, format.bytes),
  trend,
  number("flows/s", (row) => row.flows, format.rate, { minor: true }),
  number("refused/s", (row) => row.rejected, format.rate),
];
const refusedFirst = [
  number("refused/s", (row) => row.rejected, format.rate),
  number("flows/s", (row) => row.flows, format.rate, { minor: true }),
  number("bytes/s", (row) => row.bytes, format.bytes),
];
const ofEni = text("interface", (row) => format.eni(row.eni), { kind: "eni" });
const ofPort = [text("port", (row) => row.port), text("service", (row) => row.service, { minor: true })];

const tables = {
  enis: table(at("enis"), [ofEni, ...perSecond], "no traffic yet"),
  ports: table(at("ports"), [...ofPort, ...perSecond], "no traffic yet"),
  refusedEnis: table(at("refused-enis"), [ofEni, ...refusedFirst], "nothing was refused"),
  refusedPorts: table(at("refused-ports"), [...ofPort, ...refusedFirst], "nothing was refused"),
  talkers: table(at("talkers"), [
    text("client", (row) => row.client, { kind: "address" }),
    text("server", (row) => row.server, { kind: "address" }),
    ...ofPort,
    number("bytes", (row) => row.bytes, format.bytes),
    number("flows", (row) => row.flows, format.count, { minor: true }),
    number("refused", (row) => row.rejected, format.count),
  ], "none is known"),
  workers: table(at("workers"), [
    text("worker", (row) => row.instance),
    text("state", (row) => (row.ready ? "ready" : `not ready: ${row.reason}`)),
    number("records/s", (row) => row.rates?.records ?? null, format.rate),
    number("bytes/s", (row) => row.rates?.bytes ?? null, format.bytes),
    number("told", (row) => row.age_seconds, (age) => `${format.duration(age)} ago`, { minor: true }),
  ], "no worker tells of itself"),
  health: table(at("health"), [
    { title: "health", show: (row) => row[0] }, { title: "", number: true, show: (row) => row[1] },
  ], "not known yet"),
  letters: table(at("letters"), [
    { title: "lines that could not be read", show: (row) => row[0] }, { title: "lines", number: true, show: (row) => row[1] },
  ], "none"),
};
const flowsChart = chart(at("flows-chart"), "Flow records per second", [
  { label: "accepted", colour: "--accepted" },
  { label: "refused", colour: "--refused", dash: [5, 4] },
], format.rate);
const bytesChart = chart(at("bytes-chart"), "Bytes per second", [{ label: "bytes", colour: "--accepted" }], format.bytes);
const findings = list(at("findings"));

function show() {
  const { overview, enis, ports, talkers, health } = state;
  const away = overview.workers.filter((worker) => !worker.ready);
  const workers = format.counted(overview.workers.length, "worker");
  if (overview.ready) said("good", `ready: ${workers}`);
  else if (!overview.workers.length) said("bad", "no worker has told of itself yet");
  else said("bad", `not ready: ${away.map((worker) => `${worker.instance} (${worker.reason})`).join(", ")}`);
  write(at("updated"), `${paused ? "paused at" : "as of"} ${format.time(overview.epoch)}`);
  tiles();
  curves(overview.history);
  findings(state.findings);
  write(at("findings-note"), findingsNote());
  tables.enis(enis.enis);
  tables.ports(ports.ports);
  tables.refusedEnis(enis.rejected);
  tables.refusedPorts(ports.rejected);
  tables.talkers(talkers.talkers);
  write(at("talkers-note"), talkersNote());
  tables.workers(overview.workers);
  tables.health(healthRows(health));
  tables.letters(Object.entries(health.counts.dead_letters).map(([why, lines]) =>
    [why.replaceAll("_", " "), format.count(lines)]));
}

function tiles() {
  const { overview, health } = state;
  const rates = overview.rates ?? {};
  const open = Object.values(overview.open).reduce((sum, one) => sum + one, 0);
  const worst = Object.entries(overview.open)[0];
  const lag = Object.values(health.counts.lag).reduce((sum, one) => sum + one, 0);
  const shown = [
    ["records/s", format.rate(rates.records)],
    ["bytes/s", format.bytes(rates.bytes)],
    ["accepted flows/s", format.rate(rates.accepted)],
    ["refused flows/s", format.rate(rates.rejected)],
    ["open findings", overview.detecting ? format.count(open) + (worst ? ` (${worst[1]} ${worst[0]})` : "") : "nobody looks"],
    ["messages waiting", format.count(lag)],
  ];
  const pairs = shown.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value)));
  at("tiles").replaceChildren(...pairs);
}

function curves(points) {
  const times = points.map((point) => point.epoch);
  flowsChart(times, points.map((point) => point.rates.accepted), points.map((point) => point.rates.rejected));
  bytesChart(times, points.map((point) => point.rates.bytes));
}

function findingsNote() {
  const { open, findings: worst } = state.findings;
  const all = Object.values(open).reduce((sum, one) => sum + one, 0);
  if (!state.overview.detecting) return "No worker looks: detection.live is off, or no minute has closed yet.";
  if (!all) return "None is open.";
  const by = Object.entries(open).map(([name, many]) => `${many} ${name}`).join(", ");
  return worst.length < all ? `${by}; the worst ${worst.length} are here.` : by;
}

function talkersNote() {
  const { minute } = state.talkers;
  if (minute !== null) return `Those with most bytes in the minute from ${format.time(minute)} on: the last one that closed.`;
  return "Known once a minute has closed for the detectors (detection.live).";
}

function healthRows({ counts, watermark_age_seconds: age, checkpoint_age_seconds: written, conservation_difference: missing }) {
  return [
    ...Object.entries(counts.lag).map(([topic, waiting]) => [`waiting on ${topic}`, format.count(waiting)]),
    ["watermark", age === null ? format.UNKNOWN : `${format.duration(age)} ago`],
    ...Object.entries(written).map(([agent, since]) => [`checkpoint of ${agent}`, `${format.duration(since)} ago`]),
    ["late records", format.count(counts.late)],
    ["records from the future", format.count(counts.future)],
    ["repeated lines, dropped", format.count(counts.duplicates)],
    ["records that no detector saw", format.count(counts.unwatched)],
    ["counted, not in the tables yet", format.count(missing)],
  ];
}

// -- by hand --------------------------------------------------------------------------------------------------------

at("login").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN, at("token").value.trim());
  at("token").value = "";
  refresh();
});

at("reach").addEventListener("submit", (event) => {
  event.preventDefault();
  if (state.overview) at("reach-answer").replaceChildren(...answer(state, at("reach-a").value, at("reach-b").value));
});

at("pause").addEventListener("click", () => {
  paused = !paused;
  at("pause").setAttribute("aria-pressed", String(paused));
  write(at("pause"), paused ? "Go on" : "Pause");
  if (state.overview) write(at("updated"), `${paused ? "paused at" : "as of"} ${format.time(state.overview.epoch)}`);
  if (!paused) refresh();
});

setInterval(() => { if (!paused && !document.hidden) refresh(); }, EVERY);
document.addEventListener("visibilitychange", () => { if (!document.hidden && !paused) refresh(); });
refresh();
