// Numbers, times and names in words. Nothing here touches the page.

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];
const SPANS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
const NOBODY = { other: "all others", expired: "not seen for long", "-": "no interface" };

export const UNKNOWN = "-";

function threeDigits(number) {
  const size = Math.abs(number);
  return number.toFixed(size < 9.995 ? 2 : size < 99.95 ? 1 : 0);
}

export function bytes(number) {
  if (number === null || number === undefined) return UNKNOWN;
  let size = number;
  let unit = 0;
  while (Math.abs(size) >= 999.5 && unit < UNITS.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? size.toFixed(0) : threeDigits(size)} ${UNITS[unit]}`;
}

export function count(number) {
  if (number === null || number === undefined) return UNKNOWN;
  if (Math.abs(number) < 999999.5) return Math.round(number).toLocaleString("en");
  return number < 999.5e6 ? `${threeDigits(number / 1e6)} M` : `${threeDigits(number / 1e9)} G`;
}

export function rate(number) {
  if (number === null || number === undefined) return UNKNOWN;
  if (number > 0 && number < 0.05) return "<0.1";
  return number > 0 && number < 10 ? number.toFixed(1) : count(number);
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return UNKNOWN;
  let rest = Math.max(0, Math.round(seconds));
  const words = [];
  for (const [size, unit] of SPANS) {
    if (rest >= size && words.length < 2) {
      words.push(`${Math.floor(rest / size)} ${unit}`);
      rest %= size;
    } else if (words.length) break;
  }
  return words.join(" ") || "0 s";
}

export function time(epoch) {
  return epoch === null ? UNKNOWN : `${new Date(epoch * 1000).toISOString().slice(11, 19)} UTC`;
}

export function day(epoch) {
  return `${new Date(epoch * 1000).toISOString().slice(0, 10)} ${time(epoch)}`;
}

export function eni(name) {
  return NOBODY[name] ?? name;
}

export function counted(number, thing) {
  return `${count(number)} ${thing}${number === 1 ? "" : "s"}`;
}
