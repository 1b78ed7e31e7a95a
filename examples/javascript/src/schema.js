// Schemas of samples: bytes that say what stands where, as nodes; and data types of arrays.
//
// node: { kind, ... }   with the numbers of extents, scalars and payloads that each has, so that places can be computed

import { SplitDataError, demand } from "./errors.js";

export const MAX_SCHEMA_BYTES = 1 << 20;
const MAX_DEPTH = 64;
const MAX_STRUCTURES = 8;
const MAX_NDIM = 64;
const MAX_ELEMENT_BYTES = 2 ** 31 - 1;
const FREE = (1n << 64n) - 1n;
const NAMES = ["none", "bool", "int", "bigInt", "float", "text", "bytes", "date", "timedelta", "datetime", "offset", "zone"];
const KINDS = new Map([
  ...NAMES.map((name, kind) => [kind, name]),
  [16, "list"],
  [17, "tuple"],
  [18, "dict"],
  [19, "namedtuple"],
  [20, "dataclass"],
  [21, "intList"],
  [22, "floatList"],
  [32, "array"],
  [33, "scalar"],
  [34, "tensor"],
  [35, "shapedArray"],
  [36, "shapedTensor"],
  [48, "optional"],
]);
// Of kinds that are always alike: how many extents and scalars, and whether there is a payload.
const PARTS = {
  none: [0, 0, false],
  bool: [0, 1, false],
  int: [0, 1, false],
  bigInt: [1, 0, true],
  float: [0, 1, false],
  text: [1, 0, true],
  bytes: [1, 0, true],
  date: [0, 1, false],
  timedelta: [0, 2, false],
  datetime: [0, 2, false],
  offset: [1, 3, true],
  zone: [1, 3, true],
  intList: [1, 0, true],
  floatList: [1, 0, true],
};
const SIZES = /^(?:\|b1|\|[iu]1|[<>][iu][248]|[<>]f[248]|[<>]c(?:8|16))$/;
const TENSORS = new Map([["bfloat16", 2], ["float8_e4m3fn", 1], ["float8_e5m2", 1]]);
const TIME = /^[<>][Mm]8(?:\[(?:[1-9][0-9]{0,8})?(?:Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])?$/;
const SIZED = /^(?:\|[SV]|[<>]U)([1-9][0-9]*)$/;

function fail(problem, name = "FormatError") {
  throw new SplitDataError(name, `the schema of the sample is wrong: ${problem}`);
}

/** Decode UTF-8 in which surrogates may stand alone. */
export function decodeText(data) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data);
  } catch {
    return decodeWithSurrogates(data);
  }
}

function decodeWithSurrogates(data) {
  const units = [];
  let start = 0;
  for (let place = 0; place < data.length; place += 1) {
    if (data[place] === 0xed && data[place + 1] >= 0xa0 && data[place + 1] <= 0xbf && (data[place + 2] & 0xc0) === 0x80) {
      units.push(strict(data.subarray(start, place)));
      units.push(String.fromCharCode(0xd000 | ((data[place + 1] & 0x3f) << 6) | (data[place + 2] & 0x3f)));
      place += 2;
      start = place + 1;
    }
  }
  units.push(strict(data.subarray(start)));
  return units.join("");
}

function strict(data) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data);
  } catch {
    throw new SplitDataError("FormatError", "a text of the sample is not UTF-8");
  }
}

class Cursor {
  constructor(data) {
    this.data = data;
    this.place = 0;
  }

  take(length) {
    if (length > this.data.length - this.place) fail("it ends early");
    this.place += length;
    return this.data.subarray(this.place - length, this.place);
  }

  u8() {
    return this.take(1)[0];
  }

  u32() {
    return this.take(4).readUInt32LE(0);
  }

  u64() {
    return this.take(8).readBigUInt64LE(0);
  }

  text() {
    return decodeText(this.take(this.u32()));
  }
}

/**
 * Parse a schema. Returns its root node; `numNodes`, `numExtents`, `numScalars` and `payloads` of it are those of all
 * nodes, and a payload is { isArray, lengthOf(extents) }, an array also surplusOf(extents).
 */
export function parseSchema(data) {
  if (data.length > MAX_SCHEMA_BYTES) fail("it is too long");
  const cursor = new Cursor(data);
  const all = { numNodes: 0, numExtents: 0, numScalars: 0, payloads: [] };
  const root = readNode(cursor, all, 1);
  if (cursor.place !== data.length) fail("bytes follow it");
  return { root, ...all };
}

function readNode(cursor, all, depth) {
  const number = cursor.u8();
  all.numNodes += 1;
  const kind = KINDS.get(number);
  if (!kind) fail(`kind ${number} is not known`, "UnsupportedVersionError");
  const node = { kind, extent: all.numExtents, scalar: all.numScalars, payload: all.payloads.length };
  if (kind in PARTS) {
    const [extents, scalars, hasPayload] = PARTS[kind];
    all.numExtents += extents;
    all.numScalars += scalars;
    const isArray = kind === "intList" || kind === "floatList";
    if (hasPayload) all.payloads.push({ isArray, lengthOf: (sizes) => sizes[node.extent] * (isArray ? 8n : 1n) });
  } else if (kind.toLowerCase().endsWith("array") || kind.toLowerCase().endsWith("tensor") || kind === "scalar") {
    readArray(cursor, all, node);
  } else {
    // A node that holds nodes.
    if (depth > MAX_DEPTH) fail("it is nested too deep");
    readParts(cursor, all, node, depth);
  }
  return node;
}

function readParts(cursor, all, node, depth) {
  if (node.kind === "optional") {
    all.numScalars += 1;
    node.part = readNode(cursor, all, depth + 1);
    return;
  }
  const hasFields = node.kind === "namedtuple" || node.kind === "dataclass";
  if (hasFields) node.name = cursor.text();
  const count = cursor.u32();
  node.keys = [];
  node.parts = [];
  const seen = new Set();
  for (let n = 0; n < count; n += 1) {
    if (hasFields || node.kind === "dict") {
      const key = hasFields ? cursor.text() : readKey(cursor);
      const known = `${typeof key} ${key}`;
      if (seen.has(known)) fail(`the key ${key} is there twice`);
      seen.add(known);
      node.keys.push(key);
    }
    node.parts.push(readNode(cursor, all, depth + 1));
  }
}

function readKey(cursor) {
  const kind = cursor.u8();
  if (kind > 1) fail(`a key of kind ${kind} is not known`, "UnsupportedVersionError");
  return kind ? BigInt.asIntN(64, cursor.u64()) : cursor.text();
}

// -- arrays --------------------------------------------------------------------------------------------------------

function readArray(cursor, all, node) {
  const isTensor = node.kind.toLowerCase().endsWith("tensor");
  const isShaped = node.kind.startsWith("shaped");
  const ndim = node.kind === "scalar" ? 0 : cursor.u8();
  if (ndim > MAX_NDIM) fail(`an array of ${ndim} dimensions`);
  node.dimensions = Array.from({ length: ndim }, () => (isShaped ? cursor.u64() : FREE));
  node.type = isTensor ? readTensorType(cursor) : readType(cursor, 1);
  const first = all.numExtents;
  all.numExtents += node.dimensions.filter((one) => one === FREE).length;
  node.shapeOf = (extents) => {
    let place = first;
    return node.dimensions.map((one) => (one === FREE ? extents[place++] : one));
  };
  const ofElement = valuesOf(node.type) - 8n * BigInt(node.type.size);
  all.payloads.push({
    isArray: true,
    lengthOf: (extents) => bytesOf(node.shapeOf(extents), node.type.size),
    surplusOf: (extents) => countOf(node.shapeOf(extents), ofElement > 0n ? ofElement : 0n),
  });
}

const MAX_ARRAY_BYTES = (1n << 63n) - 1n;

/** Return how many values an array has of which each element has so many; rows of nothing count as values. */
function countOf(shape, ofElement) {
  let count = 1n;
  for (const one of shape) {
    if (!one) return count;
    count *= one;
  }
  return count * ofElement;
}

function valuesOf(type) {
  if (!type.fields) return BigInt(type.size) / 8n || 1n;
  const count = type.fields.reduce((sum, field) => sum + countOf(field.shape.map(BigInt), valuesOf(field.type)), 0n);
  return count || 1n;
}

/** Return the bytes of an array; throws where they are too many. */
export function bytesOf(shape, size) {
  let bound = BigInt(size);
  let isEmpty = false;
  for (const one of shape) {
    bound *= one || 1n;
    if (!one) isEmpty = true;
    demand(bound <= MAX_ARRAY_BYTES, "FormatError", "an array of the sample is too large");
  }
  return isEmpty ? 0n : bound;
}

function readTensorType(cursor) {
  const name = cursor.take(cursor.u8()).toString("latin1");
  const size = TENSORS.get(name) ?? (SIZES.test(name) && !name.startsWith(">") ? sizeOf(name) : 0);
  if (!size) fail(`the data type ${JSON.stringify(name)} is not known`, "UnsupportedVersionError");
  return { name, size };
}

function readType(cursor, depth) {
  const length = cursor.u8();
  if (!length) return readStructure(cursor, depth);
  const name = cursor.take(length).toString("latin1");
  if (SIZES.test(name)) return { name, size: sizeOf(name) };
  if (TIME.test(name)) return { name, size: 8 };
  const sized = SIZED.exec(name);
  const size = sized ? Number(sized[1]) * (name[1] === "U" ? 4 : 1) : 0;
  if (!size) fail(`the data type ${JSON.stringify(name)} is not known`, "UnsupportedVersionError");
  if (size > MAX_ELEMENT_BYTES) fail("an element is too large");
  return { name, size };
}

function sizeOf(name) {
  return Number(name.slice(2));
}

function readStructure(cursor, depth) {
  if (depth > MAX_STRUCTURES) fail("structures are nested too deep");
  const size = cursor.u32();
  if (size < 1 || size > MAX_ELEMENT_BYTES) fail(`an element of ${size} bytes`);
  const count = cursor.u32();
  const fields = [];
  const seen = new Set();
  for (let n = 0; n < count; n += 1) {
    const offset = cursor.u32();
    const name = cursor.text();
    if (seen.has(name)) fail(`the field ${name} is there twice`);
    seen.add(name);
    const ndim = cursor.u8();
    if (ndim > MAX_NDIM) fail(`a field of ${ndim} dimensions`);
    const shape = Array.from({ length: ndim }, () => BigInt(cursor.u32()));
    const type = readType(cursor, depth + 1);
    if (BigInt(offset) + bytesOf(shape, type.size) > BigInt(size)) fail(`the field ${name} is not within its element`);
    fields.push({ offset, name, shape: shape.map(Number), type });
  }
  return { name: "struct", size, fields };
}
