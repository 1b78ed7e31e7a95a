// The list of the deleted records of a segment: one half, and the same once more.

import { SplitDataError, demand } from "./errors.js";
import { checkHeader } from "./files.js";
import { hash64 } from "./hash.js";

/** Read it. @returns {{numbers: Set<number>, isWhole: boolean}}  isWhole: both halves are right, and nothing follows */
export function readDeleted(file, fields, id) {
  const expected = BigInt(`0x${fields.deleted_hash}`);
  const size = 64 + 4 * fields.deleted;
  const halves = [0, size].map((start) => file.read(start, size));
  const half = halves.find((one) => hash64(one) === expected);
  if (!half) throw new SplitDataError("FormatError", `${file.name}: neither half is intact, so nothing is read`);
  const isIntact = checkHeader(half, { letter: "X", owner: id, name: file.name });
  const numbers = [];
  for (let place = 64; place + 4 <= half.length; place += 4) numbers.push(half.readUInt32LE(place));
  const ascends = numbers.every((number, n) => n === 0 || number > numbers[n - 1]);
  const right = isIntact && ascends && numbers.length === fields.deleted && half.readBigUInt64LE(40) === BigInt(fields.deleted);
  demand(right, "FormatError", `${file.name} is not such a list, so nothing is read`);
  return {
    numbers: new Set(numbers),
    isWhole: file.size === 2 * size && halves[0].equals(halves[1]) && numbers.at(-1) < fields.records,
  };
}
