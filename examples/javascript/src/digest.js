// Digests of sequences of records: the short one of the manifest, and SHA-256.

import { createHash } from "node:crypto";

const PRIME = (1n << 61n) - 1n;
const BASE = 0x0f1e2d3c4b5a6979n;
const LEAF_RECORDS = 1024;

/** Add a record, by its hash, to the digest of those before it. */
export function addToDigest(digest, hash) {
  return (digest * BASE + hash + 1n) % PRIME;
}

/** Say whether a number may be a digest. */
export function isDigest(number) {
  return number < PRIME;
}

/** Return the digest of two sequences end to end; the second has `count` records. */
export function joinDigests(left, right, count) {
  let power = 1n;
  let square = BASE;
  for (let rest = BigInt(count); rest; rest >>= 1n) {
    if (rest & 1n) power = (power * square) % PRIME;
    square = (square * square) % PRIME;
  }
  return (left * power + right) % PRIME;
}

/** Return the SHA-256 of records; null stands for one that was deleted. */
export function sha256Of(records) {
  const root = createHash("sha256");
  let leaf = createHash("sha256");
  let count = 0;
  for (const record of records) {
    const length = Buffer.alloc(8, 0xff);
    if (record) length.writeBigUInt64LE(BigInt(record.length));
    leaf.update(length);
    if (record) leaf.update(record);
    count += 1;
    if (count % LEAF_RECORDS === 0) {
      root.update(leaf.digest());
      leaf = createHash("sha256");
    }
  }
  if (count % LEAF_RECORDS) root.update(leaf.digest());
  return root.digest("hex");
}
