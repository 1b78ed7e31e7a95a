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

/**
 * Return the bytes that stand for the schemas of segments in digests, none if there are no schemas. Lists of which one
 * is the begin of the other count once, so that joining segments changes nothing.
 * @param {Buffer[][]} lists  of the segments with records, in order
 */
export function packSchemas(lists) {
  const joined = [[]];
  for (const own of lists) {
    const last = joined.at(-1);
    const [short, long] = own.length < last.length ? [own, last] : [last, own];
    if (short.every((one, n) => one.equals(long[n]))) joined[joined.length - 1] = long;
    else joined.push(own);
  }
  if (!lists.some((own) => own.length)) return Buffer.alloc(0);
  return Buffer.concat(joined.flatMap((own) => [u32(own.length), ...own.flatMap((one) => [u32(one.length), one])]));
}

function u32(value) {
  const data = Buffer.alloc(4);
  data.writeUInt32LE(value);
  return data;
}

/** Return the SHA-256 of records, null for one that was deleted, and of what packSchemas returns. */
export function sha256Of(records, schemas) {
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
  if (schemas.length) {
    const length = Buffer.alloc(8, 0xff);
    length[0] = 0xfe;
    root.update(createHash("sha256").update(length).update(schemas).digest());
  }
  return root.digest("hex");
}
