// The hash of all files: xxh3-64, as a BigInt.

import { createXXHash3 } from "hash-wasm";

const plain = await createXXHash3();
const salted = await createXXHash3(0x5d);
const MASK = (1n << 64n) - 1n;
const MULTIPLIERS = [0x9e3779b97f4a7c15n, 0xc90fdaa22168c235n, 0xa4093822299f31d1n, 0x452821e638d01377n];

function run(hasher, data) {
  hasher.init();
  hasher.update(data);
  return BigInt(`0x${hasher.digest("hex")}`);
}

/** Hash some bytes. */
export function hash64(data) {
  return run(plain, data);
}

/** Return a hash as JSON has it: 16 digits. */
export function hex64(hash) {
  return hash.toString(16).padStart(16, "0");
}

/** Return the salt of a bin, which binds its frames to it. */
export function saltOf(segmentId, bin) {
  const data = Buffer.alloc(20);
  Buffer.from(segmentId, "hex").copy(data);
  data.writeUInt32LE(bin, 16);
  return run(salted, data);
}

/** Return word 0 of the frame at an offset, sync word and header check, from the words behind it. */
export function firstWord(salt, offset, words) {
  let mixed = salt ^ ((BigInt(offset) * MULTIPLIERS[0]) & MASK);
  words.forEach((word, n) => {
    mixed = ((mixed ^ (mixed >> 32n) ^ word) * MULTIPLIERS[1 + (n % 3)]) & MASK;
  });
  return ((salt & 0xffffffffn) | 1n) | ((mixed >> 32n) << 32n);
}
