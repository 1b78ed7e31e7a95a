// A group of records: count | flags | where each record ends | where each key ends | records | keys

import { SplitDataError } from "./errors.js";
import { alignUp } from "./files.js";

const MAX_KEY_BYTES = 65535;
const KEYS_FLAG = 256;

export class Group {
  /**
   * @param {Buffer} payload  raw
   * @param {number} least  records that the manifest counts
   * @param {number} most  records of a full group
   */
  constructor(payload, least, most) {
    this.payload = payload;
    const count = payload.length < 8 ? -1 : payload.readUInt32LE(0);
    const flags = count < 0 ? 0 : payload.readUInt32LE(4);
    this.hasKeys = (flags & KEYS_FLAG) !== 0;
    this.alignment = 2 ** (flags & 255);
    this.count = count;
    this.tables = 8 + 4 * count * (this.hasKeys ? 2 : 1);
    const right = count >= least && count <= most && (flags & ~KEYS_FLAG) >>> 0 <= 6 && this.tables <= payload.length;
    if (!right) fail("its tables are wrong");
  }

  end(item) {
    return item < 0 ? this.tables : this.payload.readUInt32LE(8 + 4 * item);
  }

  keyEnd(item) {
    return item < 0 ? this.end(this.count - 1) : this.payload.readUInt32LE(8 + 4 * (this.count + item));
  }

  record(item) {
    return this.cut(alignUp(this.end(item - 1), this.alignment), this.end(item));
  }

  /** Return the bytes of a key, none if the record has no key. */
  key(item) {
    if (!this.hasKeys) return Buffer.alloc(0);
    const key = this.cut(this.keyEnd(item - 1), this.keyEnd(item));
    if (key.length > MAX_KEY_BYTES) fail("a key is too long");
    return key;
  }

  cut(start, stop) {
    if (start < this.tables || start > stop || stop > this.payload.length) fail("a record or key is not within it");
    return this.payload.subarray(start, stop);
  }

  /** Say whether all bytes between records are zeros, and none follow the last. */
  isTidy() {
    for (let item = 0; item < this.count; item += 1) {
      const end = this.end(item - 1);
      if (this.payload.subarray(end, alignUp(end, this.alignment)).some((byte) => byte)) return false;
    }
    return (this.hasKeys ? this.keyEnd(this.count - 1) : this.end(this.count - 1)) === this.payload.length;
  }
}

function fail(problem) {
  throw new SplitDataError("CorruptRecordError", `the group is damaged: ${problem}`);
}
