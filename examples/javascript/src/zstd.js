// One zstd frame, as FORMAT.md, "Compression", wants it: everything that it declares is checked before it is decompressed.

import { createDCtx, decompress as decompressWhole, decompressUsingDict, freeDCtx, init } from "@bokuweb/zstd-wasm";
import { SplitDataError, demand } from "./errors.js";

await init();

const MAX_WINDOW_BYTES = 1 << 27;
const MAX_COMPRESSED_RAW_BYTES = 1 << 30;
const CONTENT_SIZE_BYTES = [0, 2, 4, 8];
const DICTIONARY_ID_BYTES = [0, 1, 2, 4];

/**
 * Decompress the payload of a frame.
 * @param {number} raw  length that the frame header says
 * @param {Buffer | null} dictionary  the segment's, if the codec needs it
 */
export function decompress(stored, raw, dictionary) {
  demand(raw <= MAX_COMPRESSED_RAW_BYTES, "RecordTooLargeError", `a compressed record of ${raw} bytes`);
  const frame = readHeader(stored);
  const right = frame.contentSize === raw && frame.window <= Math.max(MAX_WINDOW_BYTES, raw);
  demand(right, "CorruptRecordError", "the zstd frame declares another length, or too large a window");
  demand(dictionary || !frame.dictionaryId, "CorruptRecordError", "the zstd frame needs a dictionary");
  // The library would take what follows for further frames.
  demand(endOfFrame(stored, frame) === stored.length, "CorruptRecordError", "the zstd frame ends early, or before the end");
  const data = decode(stored, dictionary);
  demand(data.length === raw, "CorruptRecordError", `the zstd frame holds ${data.length} bytes instead of ${raw}`);
  return data;
}

function decode(stored, dictionary) {
  const context = dictionary && createDCtx();
  try {
    const data = dictionary ? decompressUsingDict(context, stored, dictionary) : decompressWhole(stored);
    return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  } catch (error) {
    throw new SplitDataError("CorruptRecordError", `the zstd frame is damaged: ${error.message ?? error}`);
  } finally {
    if (context) freeDCtx(context);
  }
}

/** Read the header of a zstd frame (RFC 8878, 3.1.1.1). */
function readHeader(data) {
  const fits = (end) => demand(end <= data.length, "CorruptRecordError", "the zstd frame ends within its header");
  fits(6);
  demand(data.readUInt32LE(0) === 0xfd2fb528, "CorruptRecordError", "the payload is no zstd frame");
  const flags = data[4];
  demand((flags & 8) === 0, "CorruptRecordError", "the zstd frame has an unknown flag");
  const isSingle = (flags & 32) !== 0;
  const idBytes = DICTIONARY_ID_BYTES[flags & 3];
  const sizeBytes = CONTENT_SIZE_BYTES[flags >> 6] || (isSingle ? 1 : 0);
  const idPlace = isSingle ? 5 : 6;
  const size = idPlace + idBytes + sizeBytes;
  fits(size);
  const declared = sizeBytes ? Number(little(data, idPlace + idBytes, sizeBytes)) + (sizeBytes === 2 ? 256 : 0) : -1;
  return {
    size,
    contentSize: declared,
    window: isSingle ? declared : 2 ** (7 + (data[5] >> 3)) * (8 + (data[5] & 7)),
    dictionaryId: Number(little(data, idPlace, idBytes)),
    hasChecksum: (flags & 4) !== 0,
  };
}

function little(data, place, length) {
  let value = 0n;
  for (let n = length - 1; n >= 0; n -= 1) value = (value << 8n) | BigInt(data[place + n]);
  return value;
}

/** Return where a frame ends: behind its last block, and its checksum. */
function endOfFrame(data, frame) {
  for (let place = frame.size; place + 3 <= data.length; ) {
    const head = data.readUIntLE(place, 3);
    // A block of type 1 repeats one byte.
    place += 3 + (((head >> 1) & 3) === 1 ? 1 : head >> 3);
    if (head & 1) return place + (frame.hasChecksum ? 4 : 0);
  }
  return -1;
}
