// Verifying: every byte of a dataset against what it should be. Numbers in brackets are those of FORMAT.md, "Verifying".

import { addToDigest } from "./digest.js";
import { SplitDataError } from "./errors.js";
import { alignUp, isIntact } from "./files.js";
import { KIND, LARGE_RECORD_BYTES, controlFrames, nextStart } from "./frames.js";
import { hash64, hex64 } from "./hash.js";
import { depthOf, isObject, parse } from "./json.js";
import { unknownFeatures } from "./manifest.js";
import { readSchemas } from "./schema_file.js";
import { decode } from "./samples.js";
import { isTombstone } from "./segment.js";

const MAX_ALIGNMENT = 4096;
const MAX_DEPTH = 100;

/**
 * Look at everything, and return what is wrong.
 * @param {import("./dataset.js").Dataset} dataset
 * @returns {{path: string, problem: string}[]}
 */
export function verify(dataset) {
  const areSamples = dataset.metadata.record_codec === "sample";
  return dataset.segments.flatMap((segment) => new SegmentCheck(segment, areSamples).run());
}

class SegmentCheck {
  constructor(segment, areSamples) {
    this.segment = segment;
    this.areSamples = areSamples;
    this.fields = segment.fields;
    this.findings = [];
    this.digest = 0n;
    // Whether each record was read, and has its bytes still.
    this.isWhole = true;
    this.keys = [];
    this.bins = new Map();
  }

  run() {
    const unknown = unknownFeatures(this.fields).join(", ");
    if (unknown) {
      this.add("", `not looked at, as it has features that are not known: ${unknown}`);
      return this.findings;
    }
    this.deleted = this.attempt("deleted", () => this.segment.deleted()) ?? { numbers: new Set(), isWhole: false };
    if (!this.deleted.isWhole) this.add("deleted", "the list of deleted records is not whole, or not of this segment");
    const index = this.attempt("index", () => this.segment.index());
    if (index) {
      this.checkIndexHeader(index);
      if (this.fields.sealed) this.checkTables(index);
      for (let frame = 0; frame < this.segment.numFrames; frame += 1) this.checkFrame(frame, index);
      if (this.fields.sealed) for (const [number, bin] of this.bins) this.checkEnd(number, bin);
      this.checkKeys();
      this.checkSchemas();
      const digest = hex64(this.digest);
      if (this.isWhole && digest !== this.fields.digest) this.add("", `the records have the digest ${digest}`);
    }
    return this.findings;
  }

  add(name, problem) {
    this.findings.push({ path: name ? `${this.segment.folder}/${name}` : this.segment.folder, problem });
  }

  /** Return what a function returns; undefined, and a finding, where it throws one of our errors. */
  attempt(name, ask) {
    try {
      return ask();
    } catch (error) {
      if (!(error instanceof SplitDataError)) throw error;
      this.add(name, error.message);
      return undefined;
    }
  }

  /** Report each value that is not the expected one. */
  compare(name, pairs) {
    for (const [what, found, expected] of pairs) {
      if (found !== expected) this.add(name, `${what} is ${found}, not ${expected}`);
    }
  }

  // -- index [2, 3] ------------------------------------------------------------------------------------------------

  checkIndexHeader(index) {
    const head = index.read(0, 128);
    if (!isIntact(head, "I", 128)) {
      this.add("index", "the header is not intact");
      return;
    }
    const { fields, segment } = this;
    const big = (place) => head.readBigUInt64LE(place);
    this.alignment = 2 ** head[60];
    this.compare("index", [
      ["the features", head.readUInt32LE(32), segment.group > 1 ? 1 : 0],
      ["first_position", big(48), BigInt(segment.firstPosition)],
      ["num_bins", head.readUInt32LE(56), fields.bins],
      ["hash_kind", head[100], 0],
      ["group", 2 ** head[101], segment.group],
      ["key_id", head.toString("hex", 104, 120), "0".repeat(32)],
    ]);
    if (head[60] < 3 || head[60] > 12) this.add("index", `payloads are aligned to 2^${head[60]}`);
    // A commit that was interrupted leaves a header that is ahead of the manifest.
    if (fields.sealed) this.compare("index", [["is_sealed", head[61], 1]]);
    if (!fields.sealed && big(40) > BigInt(fields.records)) return;
    this.compare("index", [
      ["num_records", big(40), BigInt(fields.records)],
      ["digest", hex64(big(64)), fields.digest],
      ["stored_bytes", big(72), BigInt(fields.stored_bytes)],
      ["raw_bytes", big(80), BigInt(fields.raw_bytes)],
    ]);
  }

  checkTables(index) {
    const { stride } = this.segment;
    const { each, sums: start, bins, dictionary } = this.segment.tables;
    const sumBytes = bins - start;
    const dictionaryBytes = index.size >= 100 ? alignUp(index.read(96, 4).readUInt32LE(0), 8) : 0;
    const places = [start, bins, dictionary, dictionary + dictionaryBytes];
    if (index.size !== places[3] + 24) {
      this.add("index", `it has ${index.size} bytes instead of ${places[3] + 24}`);
      return;
    }
    const footer = index.read(places[3], 24);
    ["block sums", "bin table", "dictionary"].forEach((name, n) => {
      const isRight = hash64(index.read(places[n], places[n + 1] - places[n])) === footer.readBigUInt64LE(8 * n);
      if (!isRight) this.add("index", `the ${name} are damaged`);
    });
    const sums = index.read(start, sumBytes);
    for (let place = 128, n = 0; place < start; place += each * stride, n += 1) {
      const isRight = hash64(index.read(place, Math.min(each * stride, start - place))) === sums.readBigUInt64LE(8 * n);
      if (!isRight) this.add("index", `entries from ${n * each} on do not match their block sum`);
    }
    this.binTable = index.read(places[1], 8 * this.fields.bins);
  }

  // -- bins [4, 5, 6] ----------------------------------------------------------------------------------------------

  /** Return where we are in a bin; of one that was not met yet, behind its header and control frames. */
  binState(number) {
    let state = this.bins.get(number);
    if (!state) {
      state = { end: null, alignment: null, name: `${String(number).padStart(6, "0")}.bin` };
      this.bins.set(number, state);
      state.file = this.attempt(state.name, () => this.segment.bin(number));
      if (state.file) this.beginBin(number, state);
    }
    return state;
  }

  beginBin(number, state) {
    const { file, name } = state;
    const head = file.read(0, 64);
    state.end = 64;
    if (isIntact(head, "B", 64)) {
      state.alignment = 2 ** head[48];
      this.compare(name, [
        ["num_bins", head.readUInt32LE(36), this.fields.bins],
        ["the features", head.readUInt32LE(40), this.segment.group > 1 ? 1 : 0],
        ["the alignment", state.alignment, this.alignment ?? state.alignment],
        ["hash_kind", head[49], 0],
        ["group", 2 ** head[50], this.segment.group],
      ]);
    } else {
      this.add(name, "the header is not intact");
    }
    if (number === 0) this.checkControlFrames(state);
  }

  checkControlFrames(state) {
    let dictionary = Buffer.alloc(0);
    for (const { offset, header, payload } of controlFrames(state.file, state.alignment ? [state.alignment] : undefined)) {
      if (!this.segment.hasHeaderCheck({ header, offset, number: 0 })) return;
      this.checkZeros(state, state.end, offset);
      state.end = offset + header.end;
      if (header.kind === KIND.dictionary) dictionary = payload;
      else this.attempt(state.name, () => checkJson(payload));
    }
    const other = this.fields.sealed ? this.segment.dictionaryOfIndex() : null;
    if (other && !other.equals(dictionary)) this.add(state.name, "it has another dictionary than the index");
  }

  checkZeros(state, start, stop) {
    if (stop > start && state.file.read(start, stop - start).some((byte) => byte)) {
      this.add(state.name, `bytes ${start} to ${stop} are not the zeros that they should be`);
    }
  }

  checkPlace(state, { offset, header }) {
    if (state.end === null) return;
    const gap = offset - state.end;
    const isRight = state.alignment
      ? offset === nextStart(state.end, state.alignment, header.isLarge)
      : gap >= 0 && gap < MAX_ALIGNMENT;
    if (isRight) this.checkZeros(state, state.end, offset);
    else this.add(state.name, `a frame begins at byte ${offset}, the part before it ends at ${state.end}`);
  }

  checkEnd(number, state) {
    if (!state.file) return;
    const { size } = state.file;
    if (this.binTable) this.compare(state.name, [["its length", BigInt(size), this.binTable.readBigUInt64LE(8 * number)]]);
    if (state.end === null) return;
    if (state.alignment) this.compare(state.name, [["its length", size, nextStart(state.end, state.alignment, false)]]);
    this.checkZeros(state, state.end, size);
  }

  // -- frames and records [6, 7, 8] --------------------------------------------------------------------------------

  checkFrame(frame, index) {
    const state = this.binState(frame % this.fields.bins);
    if (isTombstone(index, this.segment, frame) && this.segment.group === 1 && this.deleted.numbers.has(frame)) {
      this.isWhole = false;
      return;
    }
    const place = state.file && this.attempt(state.name, () => this.segment.locate(frame));
    const isRead = place && this.checkLocated(state, place, frame, index);
    if (isRead) return;
    this.isWhole = false;
    state.end = null;
  }

  /** Look at a frame that is where its entry says. Returns whether its records could be read. */
  checkLocated(state, place, frame, index) {
    const { header, offset, bin } = place;
    this.checkPlace(state, place);
    state.end = offset + header.end;
    if (header.isLarge) {
      const payloadEnd = offset + header.size + header.stored;
      this.checkZeros(state, payloadEnd, offset + header.tableOffset);
    }
    if (!this.segment.hasHeaderCheck(place)) {
      this.add(state.name, `the header check of frame ${frame} is wrong`);
      state.end = null;
    }
    if (this.segment.group > 1 && header.keyLength) this.add(state.name, `the frame of group ${frame} has a key`);
    if (state.end > bin.size) this.add(state.name, `frame ${frame} ends beyond the file`);
    const records = this.attempt(state.name, () => this.recordsOf(frame, index));
    records?.forEach((record, item) => {
      this.digest = addToDigest(this.digest, hash64(record));
      this.checkSample(record, frame * this.segment.group + item);
    });
    return Boolean(records);
  }

  recordsOf(frame, index) {
    const { segment } = this;
    if (segment.group === 1) {
      const record = segment.payload(frame);
      this.attempt("", () => this.addKey(frame));
      return [record];
    }
    const group = segment.groupOf(frame);
    const first = frame * segment.group;
    const count = Math.min(segment.group, this.fields.records - first);
    const lengths = index.read(128 + segment.stride * frame + 16, 4 * segment.group);
    const records = [];
    let isRight = group.count === count && group.isTidy() && lengths.length === 4 * segment.group;
    for (let item = 0; item < segment.group; item += 1) {
      if (item < count) {
        records.push(group.record(item));
        this.attempt("", () => this.addKey(first + item));
        if (!records[item].length && this.deleted.numbers.has(first + item)) this.isWhole = false;
      }
      isRight &&= lengths.readUInt32LE(4 * item) === (records[item]?.length ?? 0);
    }
    if (!isRight) this.add("", `group ${frame} has other lengths than the index says, or bytes that belong to no record`);
    return records;
  }

  addKey(sequence) {
    const key = this.segment.keyBytes(sequence);
    if (!key.length) return;
    this.keys.push(pairOf(hash64(key), sequence));
    try {
      new TextDecoder("utf-8", { fatal: true }).decode(key);
    } catch {
      throw new SplitDataError("CorruptRecordError", `the key of record ${sequence} is not UTF-8`);
    }
  }

  // -- samples [12] -----------------------------------------------------------------------------------------------

  checkSchemas() {
    const { schemas } = this.fields;
    if (!schemas.length) return;
    this.attempt("schemas", () => {
      const found = readSchemas(this.segment.file("schemas", "FormatError"), this.segment.id, schemas.length);
      const isEqual = found.every((one, n) => one.equals(schemas[n]));
      if (!isEqual) this.add("schemas", "the schemas are not those of the manifest");
    });
  }

  checkSample(record, sequence) {
    // What was erased from a group is an empty record.
    if (!this.areSamples || record.length >= LARGE_RECORD_BYTES || this.deleted.numbers.has(sequence)) return;
    this.attempt("", () => decode(record, this.fields.schemas));
  }

  // -- the file of keys [9] ----------------------------------------------------------------------------------------

  checkKeys() {
    const { keys = 0, sealed, keys_bytes: end } = this.fields;
    if (this.isWhole) this.compare("keys", [["the number of keys", this.keys.length, keys]]);
    if (!keys) return;
    this.attempt("keys", () => {
      const table = this.segment.keyTable();
      const pairs = [...table.pairs()].map(([hash, sequence]) => pairOf(hash, sequence));
      if (!table.isHeaderIntact) this.add("keys", "the header is not intact");
      const [run] = table.runs;
      const isInPlace = table.runs.length === 1 && run.offset === 64 && run.end === table.start && table.file.size === Number(end);
      if (sealed && !isInPlace) this.add("keys", "run and directory are not where they should be");
      const counts = sealed ? pairs : pairs.filter((pair) => Number(pair.split(" ")[1]) < this.fields.records);
      const isEqual = counts.sort().join() === this.keys.sort().join();
      if (this.isWhole && !isEqual) this.add("keys", "the file leads to other records than those that have the keys");
    });
  }
}

function pairOf(hash, sequence) {
  return `${hex64(hash)} ${sequence}`;
}

function checkJson(data) {
  try {
    const metadata = parse(new TextDecoder("utf-8", { fatal: true }).decode(data));
    if (!isObject(metadata) || depthOf(metadata) > MAX_DEPTH) throw new SyntaxError("it is no object, or too deep");
  } catch (error) {
    throw new SplitDataError("FormatError", `the copy of the metadata is no JSON: ${error.message}`);
  }
}
