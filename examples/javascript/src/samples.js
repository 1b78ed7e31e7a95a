// Samples: records that hold values, from their bytes.
//
// bound    arrays of 64 bytes and more | scalars | smaller arrays | all else | extents u32 each | number of the schema
// alone    magic | schema | extents u64 each | scalars | payloads

import { demand } from "./errors.js";
import { MAX_SCHEMA_BYTES, decodeText, parseSchema } from "./schema.js";

const DAY = 86_400_000_000n;
const MAX_SURPLUS = 1n << 20n;
const MAX_BOUND_NODES = 1 << 16;
const MAX_WALL = 315_537_897_599_999_999n;
const ZONE = /^[A-Za-z0-9_+-]+(?:\/[A-Za-z0-9_+-]+)*$/;
const TYPED_ARRAYS = {
  "|b1": Uint8Array,
  "|i1": Int8Array,
  "|u1": Uint8Array,
  "<i2": Int16Array,
  "<u2": Uint16Array,
  "<i4": Int32Array,
  "<u4": Uint32Array,
  "<i8": BigInt64Array,
  "<u8": BigUint64Array,
  "<f4": Float32Array,
  "<f8": Float64Array,
};

/** What becomes of each kind of value; give another object like this to `decode` for other values. */
export const MAKERS = {
  none: () => null,
  bool: (value) => value,
  int: (value) => (Number.isSafeInteger(Number(value)) ? Number(value) : value),
  float: (value) => value,
  text: (value) => value,
  bytes: (data) => data,
  date: (days) => ({ days }),
  timedelta: (days, microseconds) => ({ days, microseconds }),
  /** place: {} without a time zone, else offset, and a name or the key of a zone */
  datetime: (wall, fold, place) => ({ wall, fold, ...place }),
  list: (parts) => parts,
  tuple: (parts) => parts,
  dict: (keys, parts) => new Map(keys.map((key, n) => [key, parts[n]])),
  array: (data, type, shape) => ({ shape, type, data: elementsOf(data, type) }),
  scalar: (data, type) => ({ shape: [], type, data: elementsOf(data, type) }),
};

function elementsOf(data, type) {
  const Typed = TYPED_ARRAYS[type.name];
  if (!Typed) return data;
  // A copy, whose begin is aligned.
  const bytes = new Uint8Array(data);
  return new Typed(bytes.buffer, 0, bytes.length / type.size);
}

/**
 * Decode a record of the codec `sample`.
 * @param {Buffer} record
 * @param {Buffer[]} schemas  of its segment
 */
export function decode(record, schemas, makers = MAKERS) {
  const isAlone = record.subarray(0, 3).equals(Buffer.from([0x8d, 0x53, 0x4d]));
  const { plan, extents, scalars, payloads } = isAlone ? takeApartAlone(record) : takeApartBound(record, schemas);
  return build(plan.root, { extents, scalars, payloads, makers });
}

function right(condition, problem) {
  demand(condition, "FormatError", `the record is no sample: ${problem}`);
}

const plans = new Map();

function planOf(schema) {
  const key = schema.toString("latin1");
  let plan = plans.get(key);
  if (!plan) {
    plan = parseSchema(schema);
    if (plans.size > 1000) plans.clear();
    plans.set(key, plan);
  }
  return plan;
}

function takeApartBound(record, schemas) {
  right(record.length >= 4, "it is too short");
  const number = record.readUInt32LE(record.length - 4);
  right(number < schemas.length, `its segment has no schema ${number}`);
  const plan = planOf(schemas[number]);
  right(plan.numNodes <= MAX_BOUND_NODES, "its schema has too many nodes");
  const begin = record.length - 4 - 4 * plan.numExtents;
  right(begin >= 8 * plan.numScalars, "it is too short for what its schema says");
  const extents = numbersFrom(record, begin, plan.numExtents, 4);
  const sizes = sizesOf(plan, extents);
  const starts = new Array(sizes.length);
  let end = 0n;
  const place = (wanted, alignment) => {
    plan.payloads.forEach((one, n) => {
      if (!wanted(one.isArray, sizes[n])) return;
      starts[n] = up(end, alignment);
      end = starts[n] + sizes[n];
    });
  };
  place((isArray, size) => isArray && size >= 64n, 64n);
  const scalarsAt = plan.numScalars ? up(end, 8n) : end;
  end = scalarsAt + 8n * BigInt(plan.numScalars);
  place((isArray, size) => isArray && size < 64n, 8n);
  place((isArray) => !isArray, 1n);
  right(end === BigInt(begin), `it has ${record.length} bytes, other than its schema says`);
  return {
    plan,
    extents,
    scalars: numbersFrom(record, Number(scalarsAt), plan.numScalars, 8),
    payloads: cut(record, starts, sizes),
  };
}

function takeApartAlone(record) {
  right(record.length >= 8, "it is too short");
  demand(record[3] === 1, "UnsupportedVersionError", `the sample is of version ${record[3]}`);
  const length = record.readUInt32LE(4);
  right(length <= MAX_SCHEMA_BYTES && length <= record.length - 8, "its schema is too long");
  const plan = planOf(record.subarray(8, 8 + length));
  const table = Number(up(BigInt(8 + length), 8n));
  const scalarsAt = table + 8 * plan.numExtents;
  right(scalarsAt + 8 * plan.numScalars <= record.length, "it is too short for what its schema says");
  const extents = numbersFrom(record, table, plan.numExtents, 8);
  let end = BigInt(scalarsAt + 8 * plan.numScalars);
  const sizes = sizesOf(plan, extents);
  const starts = plan.payloads.map((one, n) => {
    const start = one.isArray ? up(end, sizes[n] >= 64n ? 64n : 8n) : end;
    end = start + sizes[n];
    return start;
  });
  right(end === BigInt(record.length), `it has ${record.length} bytes, other than its schema says`);
  return { plan, extents, scalars: numbersFrom(record, scalarsAt, plan.numScalars, 8), payloads: cut(record, starts, sizes) };
}

/** Return the length of each payload; throws where arrays have many values that no bytes pay for. */
function sizesOf(plan, extents) {
  const sizes = plan.payloads.map((one) => one.lengthOf(extents));
  const surplus = plan.payloads.reduce((sum, one) => sum + (one.surplusOf?.(extents) ?? 0n), 0n);
  right(surplus <= MAX_SURPLUS, "its arrays have too many values beyond their bytes");
  return sizes;
}

function up(value, alignment) {
  return ((value + alignment - 1n) / alignment) * alignment;
}

function numbersFrom(record, start, count, size) {
  const read = (place) => (size === 4 ? BigInt(record.readUInt32LE(place)) : record.readBigUInt64LE(place));
  return Array.from({ length: count }, (_, n) => read(start + size * n));
}

/** Cut payloads out of a record, whose length they were held against. */
function cut(record, starts, sizes) {
  return starts.map((start, n) => record.subarray(Number(start), Number(start + sizes[n])));
}

// -- values --------------------------------------------------------------------------------------------------------

const signed = (value) => BigInt.asIntN(64, value);

function within(value, least, most, what) {
  right(value >= least && value <= most, `${what} is ${value}`);
  return value;
}

function build(node, from) {
  return BUILDERS[node.kind](node, from);
}

function eachOf(node, from) {
  return node.parts.map((part) => build(part, from));
}

const BUILDERS = {
  none: (_, { makers }) => makers.none(),
  bool: (node, { scalars, makers }) => makers.bool(within(scalars[node.scalar], 0n, 1n, "a boolean") === 1n),
  int: (node, { scalars, makers }) => makers.int(signed(scalars[node.scalar])),
  bigInt: (node, { payloads, makers }) => makers.int(bigIntOf(payloads[node.payload])),
  float: (node, { scalars, makers }) => makers.float(floatOf(scalars[node.scalar])),
  text: (node, { payloads, makers }) => makers.text(decodeText(payloads[node.payload])),
  bytes: (node, { payloads, makers }) => makers.bytes(payloads[node.payload]),
  date: (node, { scalars, makers }) => makers.date(Number(within(signed(scalars[node.scalar]), 1n, 3652059n, "a date"))),
  timedelta: (node, { scalars, makers }) => {
    const days = within(signed(scalars[node.scalar]), -999999999n, 999999999n, "a number of days");
    return makers.timedelta(Number(days), Number(within(signed(scalars[node.scalar + 1]), 0n, DAY - 1n, "microseconds")));
  },
  datetime: (node, from) => moment(node, from, {}),
  offset: (node, from) => moment(node, from, { offset: offsetOf(node, from), name: decodeText(from.payloads[node.payload]) }),
  zone: (node, from) => {
    const zone = from.payloads[node.payload].toString("latin1");
    right(zone.length <= 255 && ZONE.test(zone), `a time zone is ${JSON.stringify(zone)}`);
    return moment(node, from, { offset: offsetOf(node, from), zone });
  },
  list: (node, from) => from.makers.list(eachOf(node, from)),
  tuple: (node, from) => from.makers.tuple(eachOf(node, from)),
  namedtuple: (node, from) => from.makers.tuple(eachOf(node, from)),
  dict: (node, from) => from.makers.dict(node.keys, eachOf(node, from)),
  dataclass: (node, from) => from.makers.dict(node.keys, eachOf(node, from)),
  intList: (node, from) => from.makers.list(wordsOf(node, from).map((word) => from.makers.int(signed(word)))),
  floatList: (node, from) => from.makers.list(wordsOf(node, from).map((word) => from.makers.float(floatOf(word)))),
  array: arrayOf,
  tensor: arrayOf,
  shapedArray: arrayOf,
  shapedTensor: arrayOf,
  scalar: (node, { payloads, makers }) => {
    checkCodePoints(payloads[node.payload], node.type);
    return makers.scalar(payloads[node.payload], node.type);
  },
  optional: (node, from) => {
    const isThere = within(from.scalars[node.scalar], 0n, 1n, "the mark of an optional part");
    return isThere ? build(node.part, from) : from.makers.none();
  },
};

function moment(node, { scalars, makers }, place) {
  const wall = within(signed(scalars[node.scalar]), 0n, MAX_WALL, "a time");
  return makers.datetime(wall, Number(within(scalars[node.scalar + 1], 0n, 1n, "a fold")), place);
}

function offsetOf(node, { scalars }) {
  return Number(within(signed(scalars[node.scalar + 2]), 1n - DAY, DAY - 1n, "an offset"));
}

function bigIntOf(data) {
  const unsigned = BigInt(`0x${Buffer.from(data).reverse().toString("hex") || "0"}`);
  return BigInt.asIntN(8 * data.length, unsigned);
}

function floatOf(word) {
  const data = Buffer.alloc(8);
  data.writeBigUInt64LE(word);
  return data.readDoubleLE(0);
}

function wordsOf(node, { payloads }) {
  const data = payloads[node.payload];
  return numbersFrom(data, 0, data.length / 8, 8);
}

function arrayOf(node, { extents, payloads, makers }) {
  const data = payloads[node.payload];
  checkCodePoints(data, node.type);
  return makers.array(data, node.type, node.shapeOf(extents).map(Number));
}

/** Refuse texts of arrays with what is no code point, also within structures. */
function checkCodePoints(data, type) {
  const texts = [];
  collectTexts(type, 0, texts);
  for (let start = 0; texts.length && start < data.length; start += type.size) {
    for (const { offset, length, isBig } of texts) {
      for (let place = start + offset; place < start + offset + length; place += 4) {
        const point = isBig ? data.readUInt32BE(place) : data.readUInt32LE(place);
        right(point <= 0x10ffff, `a text has the code point ${point}`);
      }
    }
  }
}

function collectTexts(type, offset, texts) {
  if (type.name[1] === "U") texts.push({ offset, length: type.size, isBig: type.name[0] === ">" });
  for (const field of type.fields ?? []) {
    const count = field.shape.reduce((all, one) => all * one, 1);
    for (let n = 0; n < count; n += 1) {
      const before = texts.length;
      collectTexts(field.type, offset + field.offset + n * field.type.size, texts);
      if (texts.length === before) break;
    }
  }
}

