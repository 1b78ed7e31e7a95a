// A dataset as a sequence of records.

import { joinDigests, packSchemas, sha256Of } from "./digest.js";
import { SplitDataError } from "./errors.js";
import { hash64, hex64 } from "./hash.js";
import { parse, plain } from "./json.js";
import { readManifest } from "./manifest.js";
import { decode } from "./samples.js";
import { decodeText } from "./schema.js";
import { Segment } from "./segment.js";

export class Dataset {
  /** Open the newest state of a dataset. It stays that state; close() gives the files back. */
  constructor(folder) {
    this.folder = folder;
    this.manifest = readManifest(folder);
    this.length = 0;
    this.segments = this.manifest.segments.map((fields) => {
      const segment = new Segment(folder, fields, this.length);
      this.length += fields.records;
      return segment;
    });
  }

  close() {
    for (const segment of this.segments) segment.close();
  }

  /** The user's metadata. */
  get metadata() {
    return this.manifest.metadata;
  }

  /** What the manifest says of all records, in short: their number and their digest. */
  get fingerprint() {
    const join = (digest, { digest: next, records }) => joinDigests(digest, BigInt(`0x${next}`), records);
    const schemas = this.packedSchemas();
    const behind = schemas.length ? `-${hex64(hash64(schemas))}` : "";
    return `${this.length}-${hex64(this.manifest.segments.reduce(join, 0n))}${behind}`;
  }

  /** Return a record as a Buffer. */
  record(position) {
    return this.at(position, (segment, sequence) => segment.record(sequence));
  }

  /** Return a record as the value that it holds, by the codec of the dataset; `makers` as for decode() of samples.js. */
  sample(position, makers) {
    const record = this.record(position);
    const codec = this.metadata.record_codec;
    if (codec === "sample") return this.at(position, (segment) => decode(record, segment.fields.schemas, makers));
    if (!["text", "json", "npy", "bytes"].includes(codec)) {
      throw new SplitDataError("UnsupportedVersionError", `records of the codec ${JSON.stringify(codec)} are not known`);
    }
    // An npy file is returned as it is.
    if (codec === "npy" || codec === "bytes") return record;
    try {
      return codec === "text" ? decodeText(record) : plain(parse(decodeText(record)));
    } catch (error) {
      throw new SplitDataError("FormatError", `record ${position} is no ${codec}: ${error.message}`);
    }
  }

  /** Return bytes `start` to `stop` of a record. */
  range(position, start, stop) {
    return this.at(position, (segment, sequence) => segment.range(sequence, start, stop));
  }

  /** Return the key of a record, null if it has none. */
  key(position) {
    return this.at(position, (segment, sequence) => segment.key(sequence));
  }

  /** Return the position of the newest record with a key, null if there is none. */
  find(key) {
    for (const segment of this.segments.toReversed?.() ?? [...this.segments].reverse()) {
      const sequence = segment.fields.records ? segment.find(key) : null;
      if (sequence !== null) return segment.firstPosition + sequence;
    }
    return null;
  }

  /** Return the SHA-256 of all records, which are read for it. */
  sha256() {
    return sha256Of(this.recordsOrNull(), this.packedSchemas());
  }

  packedSchemas() {
    return packSchemas(this.manifest.segments.filter((one) => one.records).map((one) => one.schemas));
  }

  *recordsOrNull() {
    for (let position = 0; position < this.length; position += 1) {
      try {
        yield this.record(position);
      } catch (error) {
        if (error.name !== "RecordDeletedError") throw error;
        yield null;
      }
    }
  }

  at(position, ask) {
    if (!Number.isInteger(position) || position < 0 || position >= this.length) {
      throw new RangeError(`there is no record ${position}: the dataset has ${this.length}`);
    }
    // The last segment that begins there or before; those without records begin where the next one does.
    let low = 0;
    let high = this.segments.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.segments[middle].firstPosition <= position) low = middle;
      else high = middle;
    }
    const segment = this.segments[low];
    return ask(segment, position - segment.firstPosition);
  }
}

