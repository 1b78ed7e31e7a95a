// The newest manifest of a dataset, and everything that is refused about it.

import fs from "node:fs";
import { SplitDataError, demand } from "./errors.js";
import { isDigest } from "./digest.js";
import { checkFolder, checkHeader, openFile, pathIn } from "./files.js";
import { hash64, hex64 } from "./hash.js";
import { depthOf, isObject, parse, plain, stringify } from "./json.js";

const NAME = /^manifest\.([0-9]{10})\.json$/;
const MAX_MANIFEST_BYTES = 1 << 24;
const MAX_METADATA_BYTES = 1 << 20;
const MAX_DEPTH = 100;
const MAX_SEGMENTS = 10_000;
const MAX_RECORDS = 2 ** 32 - 2;
const MAX_SCHEMAS = 4096;
const MAX_SEGMENT_SCHEMAS = 1024;
const MAX_SCHEMAS_BYTES = 4 << 20;
const KNOWN_FEATURES = ["groups", "deleted"];

/** Read it. Returns its fields: numbers as Number or BigInt, metadata as they were given, schemas as Buffers. */
export function readManifest(folder) {
  for (;;) {
    const newest = newestName(folder);
    const file = openNewest(folder, newest);
    if (!file) continue;
    try {
      return check(file, Number(NAME.exec(newest)[1]));
    } finally {
      file.close();
    }
  }
}

function newestName(folder) {
  const names = fs.existsSync(folder) ? fs.readdirSync(folder).filter((name) => NAME.test(name)) : [];
  // One of number 0 is none, but where it is all that there is somebody has damaged the dataset.
  const newest = names.sort().at(-1);
  if (newest) return newest;
  const lost = hasCommitted(pathIn(folder, "segments"));
  throw lost
    ? new SplitDataError("ManifestError", `${folder} has segments, and no manifest: they were lost`)
    : new SplitDataError("DatasetNotFoundError", `there is no dataset in ${folder}`);
}

function openNewest(folder, name) {
  try {
    return openFile(pathIn(folder, name), "vanished");
  } catch (error) {
    if (error.name !== "vanished") throw error;
    return null;
  }
}

/** Say whether the index of some segment counts records that were committed. */
function hasCommitted(segments) {
  checkFolder(segments);
  if (!fs.existsSync(segments)) return false;
  return fs.readdirSync(segments).some((id) => {
    try {
      checkFolder(pathIn(segments, id));
      const file = openFile(pathIn(segments, id, "index"), "FormatError");
      const head = file.read(0, 128);
      file.close();
      const isKnown = isId(id) && checkHeader(head, { letter: "I", owner: Buffer.alloc(0), size: 128 });
      return isKnown && head.readBigUInt64LE(40) > 0n && head[62] === 0;
    } catch {
      return false;
    }
  });
}

function check(file, generation) {
  const manifest = parseLines(file.read(0, MAX_MANIFEST_BYTES + 1));
  const right = (condition, what) => demand(condition, "ManifestError", `${file.name}: ${what}`);
  right(isObject(manifest) && manifest.format === "splitdata", "format is wrong");
  const version = manifest.version;
  right(Array.isArray(version) && version.length === 2 && version.every(integer(0, 65535)), "version is wrong");
  demand(version[0] === 1, "UnsupportedVersionError", `${file.name} is of version ${version.join(".")}, not 1`);
  right(areTexts(manifest.must_understand), "must_understand is wrong");
  const unknown = manifest.must_understand.join(", ");
  demand(!unknown, "UnsupportedVersionError", `${file.name} has features that are not known: ${unknown}`);
  const problem = problemOf(manifest, FIELDS, OPTIONAL) ?? manifest.segments.map(problemOfSegment).find(Boolean) ?? problemOfSchemas(manifest);
  right(!problem, problem);
  right(new Set(manifest.segments.map((one) => one.id)).size === manifest.segments.length, "two segments have one id");
  right(manifest.generation === generation, `generation is ${manifest.generation}`);
  const metadata = plain(manifest.metadata);
  right(Buffer.byteLength(stringify(manifest.metadata)) <= MAX_METADATA_BYTES, "the metadata are too long");
  const schemas = (manifest.schemas ?? []).map((one) => Buffer.from(one, "base64"));
  const segments = manifest.segments.map((one) => ({ ...one, schemas: (one.schemas ?? []).map((n) => schemas[n]) }));
  return { ...manifest, metadata, schemas, segments };
}

function parseLines(data) {
  try {
    if (data.length > MAX_MANIFEST_BYTES) throw new SyntaxError("it is too long");
    const end = data.indexOf(0x0a);
    const line = data.subarray(0, Math.max(0, end));
    const proof = Buffer.from(`{"xxh3":"${hex64(hash64(line))}"}\n`);
    if (end < 0 || !data.subarray(end + 1).equals(proof)) throw new SyntaxError("it is not what its second line says");
    return parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(line));
  } catch (error) {
    throw new SplitDataError("ManifestError", `the manifest is damaged: ${error.message}`);
  }
}

// -- fields --------------------------------------------------------------------------------------------------------

const isInteger = (value) => typeof value === "bigint" || Number.isSafeInteger(value);
const areTexts = (value) => Array.isArray(value) && value.every((one) => typeof one === "string");
const integer = (least, most) => (value) => isInteger(value) && value >= least && value <= most;
const text = (pattern) => (value) => typeof value === "string" && pattern.test(value);
// Characters are code points.
const isShort = (value) => typeof value === "string" && [...value].length <= 200;
const isId = text(/^[0-9a-f]{32}$/);
const isHash = text(/^[0-9a-f]{16}$/);
const isCount = integer(0, (1n << 63n) - 1n);

const FIELDS = {
  generation: integer(1, 9_999_999_999),
  dataset: isId,
  metadata: isObject,
  segments: (value) => Array.isArray(value) && value.length <= MAX_SEGMENTS,
};
const OPTIONAL = { writer: isShort, time: isShort, schemas: areTexts, schema: integer(0, MAX_SCHEMAS) };
const SEGMENT_FIELDS = {
  id: isId,
  records: integer(0, MAX_RECORDS),
  bins: integer(1, 1 << 24),
  sealed: (value) => typeof value === "boolean",
  digest: (value) => isHash(value) && isDigest(BigInt(`0x${value}`)),
  raw_bytes: isCount,
  stored_bytes: isCount,
};
const SEGMENT_OPTIONAL = {
  group: (value) => integer(2, 65536)(value) && Number.isInteger(Math.log2(value)),
  keys: integer(1, MAX_RECORDS),
  keys_bytes: isCount,
  deleted: integer(1, MAX_RECORDS),
  deleted_hash: isHash,
  schemas: (value) => Array.isArray(value) && value.length <= MAX_SEGMENT_SCHEMAS,
  must_understand: areTexts,
};

/** Return what is wrong with the fields of an object, undefined if nothing is. */
function problemOf(object, required, optional) {
  if (!isObject(object)) return "an object is something else";
  const missing = Object.keys(required).find((name) => !(name in object));
  if (missing) return `${missing} is missing`;
  const all = { ...required, ...optional };
  const wrong = Object.keys(all).find((name) => name in object && !all[name](object[name]));
  if (wrong) return `${wrong} is wrong`;
  const deep = Object.keys(object).find((name) => name !== "segments" && depthOf(object[name]) > MAX_DEPTH);
  return deep && `${deep} is nested too deep`;
}

function problemOfSegment(segment) {
  const problem = problemOf(segment, SEGMENT_FIELDS, SEGMENT_OPTIONAL);
  if (problem) return `of a segment, ${problem}`;
  for (const [name, other] of [["keys", "keys_bytes"], ["deleted", "deleted_hash"]]) {
    if (name in segment !== other in segment) return `of ${name} and ${other} one is missing`;
    if (segment[name] > segment.records) return `${name} is more than its records`;
  }
  const features = segment.must_understand ?? [];
  if (features.includes("groups") !== "group" in segment) return "group and the feature groups do not go together";
  if (features.includes("deleted") !== "deleted" in segment) return "deleted and its feature do not go together";
  if (!segment.sealed && segment.records % (segment.group ?? 1)) return "the last group of an open segment is not full";
  return undefined;
}

/** Return what is wrong with the schemas of samples, or with what names them. */
function problemOfSchemas({ schemas = [], schema, segments }) {
  const bytes = schemas.map((one) => Buffer.from(one, "base64"));
  if (bytes.some((one, n) => !one.length || one.toString("base64") !== schemas[n])) return "a schema is no base64, or empty";
  const size = bytes.reduce((all, one) => all + one.length, 0);
  if (schemas.length > MAX_SCHEMAS || size > MAX_SCHEMAS_BYTES) return "there are too many schemas";
  if (new Set(schemas).size !== schemas.length) return "a schema is there twice";
  const isPlace = integer(0, schemas.length - 1);
  if (schema !== undefined && !isPlace(schema)) return "schema is wrong";
  const isWrong = ({ schemas: own = [] }) => !own.every(isPlace) || new Set(own).size !== own.length;
  if (segments.some(isWrong)) return "schemas of a segment are wrong";
  const isOther = ({ schemas: own = [] }) => schema !== undefined && own.length > 0 && Number(own[0]) !== Number(schema);
  return segments.some(isOther) ? "a segment has another first schema than the declared one" : undefined;
}

/** Return the features of a segment that are not known here. */
export function unknownFeatures(segment) {
  return (segment.must_understand ?? []).filter((name) => !KNOWN_FEATURES.includes(name));
}
