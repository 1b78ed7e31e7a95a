// Holds this reader against the conformance files: tests/conformance/README.md says what they are.
//
// verdicts.json -> a copy of a dataset, edited -> Dataset, verify -> what they say -> differences, as JSON on lines

import { execFileSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { Dataset, SplitDataError, verify } from "./src/index.js";
import { hash64, hex64 } from "./src/hash.js";
import { isObject, stringify } from "./src/json.js";

const here = path.dirname(new URL(import.meta.url).pathname);
const conformance = process.argv[2] ?? path.join(here, "..", "..", "tests", "conformance");

/** What a reader is asked for, by the names of verdicts. */
const SAID = {
  intact: (dataset) => verify(dataset).length === 0,
  records: (dataset) => eachOf(dataset, (position) => hex64(hash64(dataset.record(position)))),
  ranges: (dataset, asked) =>
    asked.map(([...place]) => [...place.slice(0, 3), outcome(() => hex64(hash64(dataset.range(...place.slice(0, 3)))))]),
  keys: (dataset) => eachOf(dataset, (position) => dataset.key(position)),
  samples: (dataset, asked) => byName(asked, (position) => dataset.sample(Number(position), PROJECTION)),
  find: (dataset, keys) => byName(keys, (key) => dataset.find(key)),
  metadata: (dataset) => shown(dataset.metadata),
  metadata_bytes: (dataset) => Buffer.byteLength(stringify(dataset.metadata)),
  fingerprint: (dataset) => dataset.fingerprint,
  sha256: (dataset) => dataset.sha256(),
};

/** Values as verdicts have them. */
const PROJECTION = {
  none: () => null,
  bool: (value) => value,
  int: (value) => ({ int: String(value) }),
  float: (value) => {
    const data = Buffer.alloc(8);
    data.writeDoubleBE(value);
    return { float: data.toString("hex") };
  },
  text: (value) => value,
  bytes: (data) => ({ bytes: data.toString("hex") }),
  date: (days) => ({ date: days }),
  timedelta: (days, microseconds) => ({ timedelta: [days, microseconds] }),
  datetime: (wall, fold, place) => ({ datetime: String(wall), fold, ...place }),
  list: (parts) => ({ list: parts }),
  tuple: (parts) => ({ tuple: parts }),
  dict: (keys, parts) => ({ dict: keys.map((key, n) => [typeof key === "bigint" ? { int: String(key) } : key, parts[n]]) }),
  array: (data, type, shape) => ({ array: data.toString("hex"), type: typeOf(type), shape }),
  scalar: (data, type) => ({ scalar: data.toString("hex"), type: typeOf(type) }),
};

function typeOf({ name, size, fields }) {
  if (!fields) return name;
  return { size, fields: fields.map((one) => [one.offset, one.name, one.shape, typeOf(one.type)]) };
}

function outcome(ask) {
  try {
    return ask();
  } catch (error) {
    if (!(error instanceof SplitDataError)) throw error;
    return error.name;
  }
}

function eachOf(dataset, ask) {
  return Array.from({ length: dataset.length }, (_, position) => outcome(() => ask(position)));
}

function byName(asked, ask) {
  return Object.fromEntries(Object.keys(asked).map((name) => [name, outcome(() => ask(name))]));
}

/** Return metadata as verdicts have them: integers beyond 2^53 are texts. */
function shown(value) {
  if (typeof value === "bigint") return String(value);
  if (Array.isArray(value)) return value.map(shown);
  if (!isObject(value)) return value;
  const object = Object.create(null);
  for (const key of Object.keys(value)) object[key] = shown(value[key]);
  return object;
}

function say(folder, verdict) {
  let dataset;
  try {
    dataset = new Dataset(folder);
  } catch (error) {
    if (!(error instanceof SplitDataError)) throw error;
    return { opens: error.name };
  }
  const said = { opens: true };
  for (const name of Object.keys(verdict)) if (name !== "opens") said[name] = SAID[name](dataset, verdict[name]);
  dataset.close();
  return said;
}

function agrees(verdict, said) {
  if (Array.isArray(verdict) && Array.isArray(said)) {
    return verdict.length === said.length && verdict.every((one, n) => agrees(one, said[n]));
  }
  if (Array.isArray(verdict)) return verdict.some((one) => agrees(one, said));
  if (!isObject(verdict) || !isObject(said)) return verdict === said;
  const names = Object.keys(verdict);
  return names.length === Object.keys(said).length && names.every((name) => name in said && agrees(verdict[name], said[name]));
}

function makeCase(one, folder) {
  fs.cpSync(path.join(conformance, "datasets", one.dataset), folder, { recursive: true });
  for (const edit of one.edits ?? []) apply(edit, path.join(folder, edit.file), folder);
}

function apply(edit, file, folder) {
  if ("rename" in edit) {
    fs.renameSync(file, path.join(folder, edit.rename));
    return;
  }
  if (["remove", "link", "folder", "fifo"].some((name) => name in edit)) fs.rmSync(file, { force: true });
  fs.mkdirSync(path.dirname(file), { recursive: true });
  if ("link" in edit) fs.symlinkSync(edit.link, file);
  else if ("folder" in edit) fs.mkdirSync(file);
  else if ("fifo" in edit) execFileSync("mkfifo", [file]);
  else if ("text" in edit) fs.writeFileSync(file, edit.text.map(textOf).join(""));
  else if ("size" in edit) {
    fs.closeSync(fs.openSync(file, "a"));
    fs.truncateSync(file, edit.size);
  } else if ("hex" in edit) {
    const descriptor = fs.openSync(file, "r+");
    fs.writeSync(descriptor, Buffer.from(edit.hex, "hex"), 0, edit.hex.length / 2, edit.offset);
    fs.closeSync(descriptor);
  }
}

function textOf(piece) {
  const [text, times] = Array.isArray(piece) ? piece : [piece, 1];
  if (!text.includes("%ID%")) return text.repeat(times);
  return Array.from({ length: times }, (_, n) => text.replaceAll("%ID%", n.toString(16).padStart(32, "0"))).join("");
}

const scratch = fs.mkdtempSync(path.join(os.tmpdir(), "conformance-"));
const cases = JSON.parse(fs.readFileSync(path.join(conformance, "verdicts.json"), "utf8"));
let numDifferent = 0;
for (const one of cases) {
  const folder = path.join(scratch, "dataset");
  makeCase(one, folder);
  const said = say(folder, one.verdict);
  const different = Object.keys({ ...one.verdict, ...said }).filter((name) => !agrees(one.verdict[name], said[name]));
  if (different.length) {
    numDifferent += 1;
    const show = (name) => [name, { verdict: one.verdict[name], said: said[name] }];
    console.log(JSON.stringify({ case: one.name, what: one.what, ...Object.fromEntries(different.map(show)) }));
  }
  fs.rmSync(folder, { recursive: true });
}
fs.rmdirSync(scratch);
console.log(`${cases.length - numDifferent} of ${cases.length} cases agree`);
process.exitCode = numDifferent ? 1 : 0;
