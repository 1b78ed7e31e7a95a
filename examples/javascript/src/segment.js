// One segment: from the number of a record to its bytes and its key.
//
// sequence -> deleted? -> entry of the index -> frame in a bin -> payload, proven -> decompressed -> cut out of its group

import { KeyTable } from "./keys.js";
import { readDeleted } from "./deleted.js";
import { SplitDataError, demand } from "./errors.js";
import { alignUp, checkFolder, checkHeader, isIntact, openFile, pathIn } from "./files.js";
import { BLOCK_BYTES, CODEC, FrameHeader, KIND, controlFrames } from "./frames.js";
import { Group } from "./group.js";
import { firstWord, hash64, saltOf } from "./hash.js";
import { unknownFeatures } from "./manifest.js";
import { decompress } from "./zstd.js";

const TOMBSTONE = (1n << 64n) - 1n;
const MAX_DICTIONARY_BYTES = 1 << 24;
const SUM_BYTES = 65536;
const NONE = { numbers: new Set(), isWhole: true };
// Files that are kept open.
const MOST_FILES = 100;

/** Say whether the entry of a frame is a tombstone. */
export function isTombstone(index, segment, frame) {
  const entry = index.read(128 + segment.stride * frame, 8);
  return entry.length === 8 && entry.readBigUInt64LE(0) === TOMBSTONE;
}

export class Segment {
  /** @param {string} dataset  folder  @param {object} fields  of the manifest  @param {number} firstPosition */
  constructor(dataset, fields, firstPosition) {
    this.folder = pathIn(dataset, "segments", fields.id);
    this.parent = pathIn(dataset, "segments");
    this.fields = fields;
    this.firstPosition = firstPosition;
    this.id = Buffer.from(fields.id, "hex");
    this.group = fields.group ?? 1;
    this.numFrames = Math.ceil(fields.records / this.group);
    this.stride = this.group > 1 ? 16 + 4 * this.group : 16;
    this.files = new Map();
  }

  close() {
    for (const file of this.files.values()) file.close();
    this.files.clear();
  }

  /** Where the tables of a sealed index begin, and how many entries one block sum covers. */
  get tables() {
    const each = Math.max(1, Math.floor(SUM_BYTES / this.stride));
    const sums = 128 + this.stride * this.numFrames;
    const bins = sums + 8 * Math.ceil(this.numFrames / each);
    return { each, sums, bins, dictionary: bins + 8 * this.fields.bins };
  }

  // -- records -----------------------------------------------------------------------------------------------------

  /** Return a record. */
  record(sequence) {
    this.refuseDeleted(sequence);
    if (this.group === 1) return this.payload(sequence);
    return this.groupOf(Math.floor(sequence / this.group)).record(sequence % this.group);
  }

  /** Return a part of a record; of a large one that is not compressed, no more than its blocks are read. */
  range(sequence, start, stop) {
    this.refuseDeleted(sequence);
    const frame = this.group === 1 ? this.locate(sequence) : null;
    if (!frame?.header.isLarge || frame.header.codec !== CODEC.none) return this.record(sequence).subarray(start, stop);
    const first = Math.floor(start / BLOCK_BYTES);
    const blocks = this.blocks(frame, first, Math.ceil(Math.min(stop, frame.header.raw) / BLOCK_BYTES));
    return Buffer.concat(blocks).subarray(start - first * BLOCK_BYTES, stop - first * BLOCK_BYTES);
  }

  /** Return the key of a record, null if it has none. */
  key(sequence) {
    this.refuseDeleted(sequence);
    const key = this.keyBytes(sequence);
    try {
      return key.length ? new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(key) : null;
    } catch {
      throw new SplitDataError("CorruptRecordError", `the key of record ${sequence} is not UTF-8`);
    }
  }

  keyBytes(sequence) {
    if (this.group > 1) return this.groupOf(Math.floor(sequence / this.group)).key(sequence % this.group);
    const frame = this.locate(sequence);
    demand(this.hasHeaderCheck(frame), "CorruptRecordError", "the header check is wrong: there may be a key, or not");
    const { keyLength, keyOffset, end } = frame.header;
    if (!keyLength) return Buffer.alloc(0);
    demand(frame.offset + end <= frame.bin.size, "TruncatedFileError", `${frame.bin.name} ends within a key`);
    const data = frame.bin.read(frame.offset + keyOffset, keyLength + 8);
    const key = data.subarray(0, keyLength);
    demand(hash64(key) === data.readBigUInt64LE(keyLength), "CorruptRecordError", "the key is damaged");
    return key;
  }

  /** Say whether sync word or header check are those of the bin: one of them may be damaged. */
  isOfBin(header, offset, number) {
    const differs = header.word0 ^ firstWord(saltOf(this.fields.id, number), offset, header.words);
    return !(differs & 0xffffffffn) || !(differs >> 32n);
  }

  hasHeaderCheck({ header, offset, number }) {
    return header.word0 === firstWord(saltOf(this.fields.id, number), offset, header.words);
  }

  /** Return the sequence number of the newest record with a key, null if there is none. */
  find(key) {
    this.checkFeatures();
    if (!this.fields.keys) return null;
    const hash = hash64(Buffer.from(key));
    const found = this.keyTable().candidates(hash).sort((one, other) => other - one);
    for (const sequence of found) {
      if (sequence >= this.fields.records) {
        // An open segment may have got more records since.
        demand(!this.fields.sealed, "FormatError", "the keys lead to a record that the segment does not have");
        continue;
      }
      if (this.deleted().numbers.has(sequence)) continue;
      const other = this.key(sequence);
      if (other === key) return sequence;
      const isLike = other !== null && hash64(Buffer.from(other)) === hash;
      demand(isLike, "CorruptRecordError", `record ${sequence} has another key than the file of keys says`);
    }
    return null;
  }

  // -- frames ------------------------------------------------------------------------------------------------------

  /** Follow the entry of a frame: bin, place and header, which agree and lie within their files. */
  locate(frame) {
    const index = this.index();
    const place = 128 + this.stride * frame;
    demand(place + 16 <= index.size, "TruncatedFileError", `${index.name} ends before the entry of frame ${frame}`);
    const entry = index.read(place, 16);
    const loc = entry.readBigUInt64LE(0);
    demand(loc !== TOMBSTONE, "CorruptRecordError", `frame ${frame} is lost`);
    const number = frame % this.fields.bins;
    demand(loc >> 40n === BigInt(number), "CorruptRecordError", `the entry of frame ${frame} leads to another bin`);
    const bin = this.bin(number);
    const offset = Number(loc & 0xffffffffffn) * 8;
    const head = bin.read(offset, 64);
    const size = head.length >= 32 && head[20] === KIND.large ? 64 : 32;
    demand(head.length >= size, "TruncatedFileError", `${bin.name} ends before frame ${frame}`);
    const header = new FrameHeader(head);
    const agrees = header.sequence === frame && head.subarray(24, 32).equals(entry.subarray(8));
    demand(agrees, "CorruptRecordError", `entry and frame ${frame} disagree`);
    demand(this.isOfBin(header, offset, number), "CorruptRecordError", `frame ${frame} is of another bin`);
    demand(header.isValid(this.group > 1), "CorruptRecordError", `the header of frame ${frame} is not valid`);
    demand(offset + header.keyOffset <= bin.size, "TruncatedFileError", `${bin.name} ends within frame ${frame}`);
    return { number, bin, offset, header };
  }

  /** Return the raw payload of a frame, proven. */
  payload(frame) {
    const place = this.locate(frame);
    const { header, bin, offset } = place;
    // What is too large to decompress is not read.
    if (header.codec !== CODEC.none && header.raw > 1 << 30) decompress(Buffer.alloc(0), header.raw, null);
    let stored;
    if (header.isLarge) {
      stored = Buffer.concat([...this.blocks(place, 0, header.numBlocks)]);
    } else {
      stored = bin.read(offset + header.size, header.stored);
      demand(hash64(stored) === header.payloadHash, "CorruptRecordError", `the payload of frame ${frame} is damaged`);
    }
    if (header.codec === CODEC.none) return stored;
    return decompress(stored, header.raw, header.codec === CODEC.dictionary ? this.dictionary() : null);
  }

  /** Return some blocks of a large frame, each proven. */
  blocks({ header, bin, offset }, first, stop) {
    const table = bin.read(offset + header.tableOffset, 8 * header.numBlocks);
    demand(hash64(table) === header.payloadHash, "CorruptRecordError", "the hashes of the blocks are damaged");
    const blocks = [];
    for (let number = first; number < stop; number += 1) {
      const start = number * BLOCK_BYTES;
      const block = bin.read(offset + header.size + start, Math.min(BLOCK_BYTES, header.stored - start));
      demand(hash64(block) === table.readBigUInt64LE(8 * number), "CorruptRecordError", `block ${number} is damaged`);
      blocks.push(block);
    }
    return blocks;
  }

  groupOf(frame) {
    if (this.lastGroup?.frame !== frame) {
      const count = Math.min(this.group, this.fields.records - frame * this.group);
      this.lastGroup = { frame, group: new Group(this.payload(frame), count, this.group) };
    }
    return this.lastGroup.group;
  }

  // -- files -------------------------------------------------------------------------------------------------------

  checkFeatures() {
    const unknown = unknownFeatures(this.fields).join(", ");
    demand(!unknown, "UnsupportedVersionError", `segment ${this.fields.id} has features that are not known: ${unknown}`);
  }

  refuseDeleted(sequence) {
    this.checkFeatures();
    demand(!this.deleted().numbers.has(sequence), "RecordDeletedError", `record ${sequence} was deleted`);
  }

  /** Open a file and keep it open. */
  file(name, missing) {
    let file = this.files.get(name);
    if (!file) {
      checkFolder(this.parent);
      checkFolder(this.folder);
      if (this.files.size >= MOST_FILES) this.close();
      file = openFile(pathIn(this.folder, name), missing);
      this.files.set(name, file);
    }
    return file;
  }

  index() {
    const file = this.file("index", "TruncatedFileError");
    this.isIndexIntact = checkHeader(file.read(0, 128), { letter: "I", owner: this.id, size: 128, name: file.name });
    return file;
  }

  bin(number) {
    const file = this.file(`${String(number).padStart(6, "0")}.bin`, "MissingBinError");
    const owner = Buffer.alloc(20);
    this.id.copy(owner);
    owner.writeUInt32LE(number, 16);
    checkHeader(file.read(0, 64), { letter: "B", owner, features: 40, name: file.name });
    return file;
  }

  deleted() {
    if (!this.fields.deleted) return NONE;
    this.list ??= readDeleted(this.file(`deleted.${this.fields.deleted_hash}`, "FormatError"), this.fields, this.id);
    return this.list;
  }

  keyTable() {
    const end = this.fields.keys_bytes;
    const tries = this.fields.sealed ? [] : [["keys.open", () => end]];
    // It was sealed later, or a repair has made the file again, where its directory ends elsewhere.
    tries.push(["keys", () => end], ["keys", (file) => file.size]);
    let problem;
    for (const [name, endOf] of tries) {
      let file;
      try {
        file = this.file(name, "missing");
      } catch (error) {
        if (error.name !== "missing") throw error;
        continue;
      }
      try {
        return new KeyTable(file, Number(endOf(file)), this.id);
      } catch (error) {
        if (error.name === "UnsupportedVersionError") throw error;
        problem ??= error;
      }
    }
    throw problem ?? new SplitDataError("FormatError", `segment ${this.fields.id} has no file of keys`);
  }

  /** Return the dictionary: that of a sealed index if it is intact, else the one at the head of bin 0. */
  dictionary() {
    const ofIndex = this.dictionaryOfIndex();
    if (ofIndex?.length) return ofIndex;
    try {
      return this.dictionaryOfBin();
    } catch (error) {
      if (!(error instanceof SplitDataError)) throw error;
      throw new SplitDataError("CorruptRecordError", `no dictionary of segment ${this.fields.id} is whole: ${error.message}`);
    }
  }

  /** Return the dictionary in the index, of no bytes if it has none; null if that cannot be told. */
  dictionaryOfIndex() {
    const index = this.index();
    if (!this.fields.sealed || !this.isIndexIntact) return null;
    const length = index.read(96, 4).readUInt32LE(0);
    if (length > MAX_DICTIONARY_BYTES) return null;
    const size = alignUp(length, 8) + 24;
    const data = index.read(this.tables.dictionary, size);
    const isRight = data.length === size && hash64(data.subarray(0, -24)) === data.readBigUInt64LE(data.length - 8);
    return isRight ? data.subarray(0, length) : null;
  }

  dictionaryOfBin() {
    const file = this.bin(0);
    const head = file.read(0, 64);
    const [frame] = controlFrames(file, isIntact(head, "B", 64) ? [2 ** head[48]] : undefined);
    demand(frame?.header.kind === KIND.dictionary, "CorruptRecordError", `${file.name} has none`);
    return frame.payload;
  }
}
