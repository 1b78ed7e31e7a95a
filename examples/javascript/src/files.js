// Files of a dataset: regular ones, behind no link, read by place; and the headers that most of them begin with.

import fs from "node:fs";
import path from "node:path";
import { SplitDataError, demand } from "./errors.js";
import { hash64 } from "./hash.js";

const { O_RDONLY, O_NOFOLLOW = 0, O_NONBLOCK = 0 } = fs.constants;
// Bit 0 stands for groups.
const KNOWN_FEATURES = 1;

/** A file that is open for reading. */
export class File {
  constructor(name, descriptor, size) {
    this.name = name;
    this.descriptor = descriptor;
    this.size = size;
  }

  /** Read some bytes; fewer where the file ends, and none before it begins. */
  read(offset, length) {
    if (offset < 0) return Buffer.alloc(0);
    const data = Buffer.alloc(Math.max(0, Math.min(length, this.size - offset)));
    let done = 0;
    while (done < data.length) {
      const count = fs.readSync(this.descriptor, data, done, data.length - done, offset + done);
      // Somebody has cut the file meanwhile.
      if (!count) return data.subarray(0, done);
      done += count;
    }
    return data;
  }

  close() {
    fs.closeSync(this.descriptor);
  }
}

/** Open a file. @param {string} missing  name of the error if there is none */
export function openFile(filename, missing) {
  let descriptor;
  try {
    // A FIFO would block without the last flag.
    descriptor = fs.openSync(filename, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (error) {
    const isMissing = error.code === "ENOENT" || error.code === "ENOTDIR";
    throw new SplitDataError(isMissing ? missing : "FormatError", `${filename}: ${error.message}`);
  }
  const status = fs.fstatSync(descriptor);
  if (!status.isFile()) {
    fs.closeSync(descriptor);
    throw new SplitDataError("FormatError", `${filename} is no regular file`);
  }
  return new File(filename, descriptor, status.size);
}

/** Refuse a folder of a dataset that is a link to one, or none. */
export function checkFolder(folder) {
  const status = fs.lstatSync(folder, { throwIfNoEntry: false });
  demand(!status || status.isDirectory(), "FormatError", `${folder} is no directory, or a link`);
}

export function pathIn(...parts) {
  return path.join(...parts);
}

const MAX_BINS = 1 << 24;
const MAX_RECORDS = 2n ** 32n - 2n;

function isShape(head, alignmentAt, groupAt, featuresAt) {
  const hasGroups = (head.readUInt32LE(featuresAt) & 1) !== 0;
  const isGroup = hasGroups ? head[groupAt] >= 1 && head[groupAt] <= 16 : head[groupAt] === 0;
  return head[alignmentAt] >= 3 && head[alignmentAt] <= 12 && isGroup;
}

/** By the letter in the magic: whether all fields of a header are within their ranges. */
const IN_RANGE = {
  I: (head) => {
    const bins = head.readUInt32LE(56);
    return head.readBigUInt64LE(40) <= MAX_RECORDS && bins >= 1 && bins <= MAX_BINS && isShape(head, 60, 101, 32);
  },
  B: (head) => isShape(head, 48, 50, 40),
};

/**
 * Look at the header of a file. If it has its hash, refuse one of another version, or with features that are not known;
 * if it is intact, one of another owner: segment, or segment and bin. Return whether it is intact.
 */
export function checkHeader(head, { letter, owner, size = 64, features = 32, name = "the file" }) {
  if (!isProven(head, letter, size)) return false;
  const major = head.readUInt16LE(8);
  const bits = head.readUInt32LE(features);
  demand(major === 1, "UnsupportedVersionError", `${name} is of version ${major}.${head.readUInt16LE(10)}, not 1`);
  demand((bits & ~KNOWN_FEATURES) === 0, "UnsupportedVersionError", `${name} has unknown features: bits ${bits}`);
  if (!isIntact(head, letter, size)) return false;
  const found = head.subarray(16, 16 + owner.length);
  demand(found.equals(owner), "FormatError", `${name} is that of another segment or bin: ${found.toString("hex")}`);
  return true;
}

/** Say whether a header has its magic and its hash, and all fields in their ranges. */
export function isIntact(head, letter, size) {
  return isProven(head, letter, size) && (IN_RANGE[letter]?.(head) ?? true);
}

function isProven(head, letter, size) {
  if (head.length < size) return false;
  const magic = Buffer.from(`\x89SD${letter}\r\n\x1a\n`, "latin1");
  return head.subarray(0, 8).equals(magic) && hash64(head.subarray(0, size - 8)) === head.readBigUInt64LE(size - 8);
}

export function alignUp(value, alignment) {
  return Math.ceil(value / alignment) * alignment;
}
