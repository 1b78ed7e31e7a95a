// The second copy of the schemas of a segment: header 64 | length u32, zeros u32, hash u64, schema, zeros to 8 | ...

import { SplitDataError, demand } from "./errors.js";
import { alignUp, checkHeader } from "./files.js";
import { hash64 } from "./hash.js";

/** Read as many schemas as the manifest lists. */
export function readSchemas(file, id, count) {
  const isIntact = checkHeader(file.read(0, 64), { letter: "T", owner: id, name: file.name });
  demand(isIntact, "FormatError", "the header is not intact");
  const schemas = [];
  for (let place = 64; schemas.length < count; ) {
    const head = file.read(place, 16);
    const length = head.length === 16 ? head.readUInt32LE(0) : 0;
    const schema = file.read(place + 16, length);
    if (!length || schema.length < length || hash64(schema) !== head.readBigUInt64LE(8)) {
      throw new SplitDataError("FormatError", `schema ${schemas.length} is damaged, or not there`);
    }
    schemas.push(schema);
    place += alignUp(16 + length, 8);
  }
  return schemas;
}
