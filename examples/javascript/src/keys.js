// The file that leads from hashes of keys to records.
//
// header 64 | run | run | ... | directory: 24 bytes each run | footer 24
// run: blocks of 1024 keys, their hashes and then their sequence numbers | fences: first hash and hash of each block

import { SplitDataError, demand } from "./errors.js";
import { alignUp, checkHeader } from "./files.js";
import { hash64 } from "./hash.js";

const KEYS_PER_BLOCK = 1024;
const BLOCK_BYTES = 12 * KEYS_PER_BLOCK;
const MAX_RUNS = 65536;
const MAX_KEYS = 4294967294;

export class KeyTable {
  /** Read the directory that ends at a place; throws FormatError if there is none that is intact. */
  constructor(file, end, id) {
    this.file = file;
    this.isHeaderIntact = checkHeader(file.read(0, 64), { letter: "K", owner: id, name: file.name });
    demand(end >= 88 && end <= file.size && end % 8 === 0, "FormatError", `${file.name} ends before its directory does`);
    const footer = file.read(end - 24, 24);
    const [total, count, hash] = [0, 8, 16].map((place) => footer.readBigUInt64LE(place));
    this.start = end - 24 - 24 * Number(count);
    demand(count <= MAX_RUNS && this.start >= 64, "FormatError", `${file.name} lists too many runs`);
    const listed = file.read(this.start, end - 8 - this.start);
    demand(hash64(listed) === hash, "FormatError", `the directory of ${file.name} is damaged`);
    this.runs = [];
    for (let place = 0; place < 24 * Number(count); place += 24) this.runs.push(new Run(file, listed.subarray(place)));
    this.runs.sort((one, other) => one.offset - other.offset);
    let before = 64;
    for (const run of this.runs) {
      demand(run.offset >= before && run.end <= this.start, "FormatError", `the runs of ${file.name} overlap`);
      before = run.end;
    }
    const sum = this.runs.reduce((all, run) => all + run.count, 0);
    demand(BigInt(sum) === total && sum <= MAX_KEYS, "FormatError", `${file.name} counts ${total} keys`);
  }

  /** Return the sequence numbers of all records whose key has a hash. */
  candidates(hash) {
    return this.runs.flatMap((run) => run.candidates(hash));
  }

  /** Yield all pairs of hash and sequence number, run by run in their order. */
  *pairs() {
    for (const run of this.runs) yield* run.pairs();
  }
}

class Run {
  constructor(file, entry) {
    this.file = file;
    // Beyond 2^53 no file reaches.
    this.offset = Number(entry.readBigUInt64LE(0));
    this.count = Number(entry.readBigUInt64LE(8));
    this.fencesHash = entry.readBigUInt64LE(16);
    demand(this.count > 0 && this.offset % 8 === 0, "FormatError", `${file.name} lists a run that is none`);
    this.numBlocks = Math.ceil(this.count / KEYS_PER_BLOCK);
    const last = this.count - (this.numBlocks - 1) * KEYS_PER_BLOCK;
    this.fences = this.offset + (this.numBlocks - 1) * BLOCK_BYTES + alignUp(12 * last, 8);
    this.end = this.fences + 16 * this.numBlocks;
  }

  readFences() {
    const data = this.file.read(this.fences, 16 * this.numBlocks);
    demand(hash64(data) === this.fencesHash, "FormatError", `the fences of ${this.file.name} are damaged`);
    return data;
  }

  /** Return the pairs of a block, which is proven. */
  block(number, fences) {
    const count = Math.min(KEYS_PER_BLOCK, this.count - number * KEYS_PER_BLOCK);
    const data = this.file.read(this.offset + number * BLOCK_BYTES, alignUp(12 * count, 8));
    const isRight = hash64(data) === fences.readBigUInt64LE(16 * number + 8);
    demand(isRight, "FormatError", `a block of ${this.file.name} is damaged`);
    const pairs = [];
    for (let n = 0; n < count; n += 1) pairs.push([data.readBigUInt64LE(8 * n), data.readUInt32LE(8 * count + 4 * n)]);
    return pairs;
  }

  candidates(hash) {
    const fences = this.readFences();
    const first = (number) => fences.readBigUInt64LE(16 * number);
    // The last block whose first hash is not above this one, and those before it while that is the same.
    let number = this.numBlocks - 1;
    while (number >= 0 && first(number) > hash) number -= 1;
    const found = [];
    for (; number >= 0; number -= 1) {
      for (const [one, sequence] of this.block(number, fences)) if (one === hash) found.push(sequence);
      if (first(number) !== hash) break;
    }
    return found;
  }

  *pairs() {
    const fences = this.readFences();
    let before = 0n;
    for (let number = 0; number < this.numBlocks; number += 1) {
      const pairs = this.block(number, fences);
      demand(pairs[0][0] === fences.readBigUInt64LE(16 * number), "FormatError", "a fence has another hash than its block");
      for (const pair of pairs) {
        if (pair[0] < before) throw new SplitDataError("FormatError", `the hashes of ${this.file.name} do not ascend`);
        before = pair[0];
        yield pair;
      }
    }
  }
}
