// Frames: their headers, what follows these, and where they must begin.
//
// header 32 | payload | key | hash of the key        a record, or a group of them
// header 64 | payload | zeros | hashes of blocks | key | hash of the key        a large record

import { alignUp } from "./files.js";
import { hash64 } from "./hash.js";

export const KIND = { record: 0, dictionary: 1, metadata: 2, group: 3, large: 4 };
export const CODEC = { none: 0, zstd: 1, dictionary: 2 };
export const LARGE_RECORD_BYTES = 1 << 24;
export const BLOCK_BYTES = 1 << 20;
export const CONTROL_SEQUENCE = 0xffffffff;
const LENGTH_ESCAPE = 0xffffffff;

/** The header of one frame. */
export class FrameHeader {
  /** @param {Buffer} data  32 bytes, 64 of a large frame */
  constructor(data) {
    this.word0 = data.readBigUInt64LE(0);
    this.payloadHash = data.readBigUInt64LE(8);
    this.sequence = data.readUInt32LE(16);
    this.kind = data[20];
    this.codec = data[21];
    this.keyLength = data.readUInt16LE(22);
    this.low = [data.readUInt32LE(24), data.readUInt32LE(28)];
    this.isLarge = this.kind === KIND.large;
    this.size = this.isLarge ? 64 : 32;
    this.words = [];
    for (let place = 8; place < this.size; place += 8) this.words.push(data.readBigUInt64LE(place));
    // Beyond 2^53 no file can hold them, and no comparison takes them for less.
    [this.stored, this.raw] = this.isLarge ? [Number(this.words[3]), Number(this.words[4])] : this.low;
  }

  /** Say whether the header is one of those that FORMAT.md allows. */
  isValid(hasGroups) {
    const { kind, codec, stored, raw, isLarge } = this;
    const isKind = hasGroups ? kind === KIND.group : kind === KIND.record || isLarge;
    const isCodec = codec <= (isLarge ? CODEC.zstd : CODEC.dictionary);
    const fits = codec === CODEC.none ? stored === raw : stored < raw;
    const says = this.low.every((low, n) => low === Math.min([stored, raw][n], LENGTH_ESCAPE));
    return isKind && isCodec && fits && raw >= LARGE_RECORD_BYTES === isLarge && says && this.sequence !== CONTROL_SEQUENCE;
  }

  get numBlocks() {
    return this.isLarge ? Math.ceil(this.stored / BLOCK_BYTES) : 0;
  }

  /** Where the hashes of the blocks begin, from the begin of the frame. */
  get tableOffset() {
    return this.isLarge ? alignUp(this.size + this.stored, 8) : this.size + this.stored;
  }

  get keyOffset() {
    return this.tableOffset + 8 * this.numBlocks;
  }

  /** Where the frame ends, without padding. */
  get end() {
    return this.keyOffset + (this.keyLength ? this.keyLength + 8 : 0);
  }
}

/** Return where a frame begins behind a part that ends somewhere. */
export function nextStart(end, alignment, isLarge) {
  const header = isLarge ? 64 : 32;
  return alignUp(alignUp(end, 8) + header, alignment) - header;
}

/**
 * Read the frames before the records of bin 0: the dictionary, and the copy of the metadata. Those that are not whole,
 * or not in their place, are not there.
 * @returns {{offset: number, header: FrameHeader, payload: Buffer}[]}
 */
export function controlFrames(file, alignments = [8, 64, 128, 256, 512, 1024, 2048, 4096]) {
  const found = [];
  for (const alignment of alignments) {
    for (let end = 64; found.length < 2; ) {
      const offset = nextStart(end, alignment, false);
      // What stands where payloads have another alignment may be the bytes of a record.
      const isRecord = alignments.length > 1 && file.read(end, offset - end).some((byte) => byte);
      const frame = isRecord ? null : controlFrameAt(file, offset);
      if (!frame || (found.length && frame.header.kind <= found.at(-1).header.kind)) break;
      found.push(frame);
      end = offset + frame.header.end;
    }
    if (found.length) break;
  }
  return found;
}

function controlFrameAt(file, offset) {
  const data = file.read(offset, 32);
  if (data.length < 32 || data[20] === KIND.large) return null;
  const header = new FrameHeader(data);
  const isControl = header.sequence === CONTROL_SEQUENCE && [KIND.dictionary, KIND.metadata].includes(header.kind);
  const isRight = isControl && header.codec === CODEC.none && header.keyLength === 0 && header.stored === header.raw;
  if (!isRight || header.stored > LARGE_RECORD_BYTES || offset + header.end > file.size) return null;
  const payload = file.read(offset + 32, header.stored);
  return hash64(payload) === header.payloadHash ? { offset, header, payload } : null;
}
