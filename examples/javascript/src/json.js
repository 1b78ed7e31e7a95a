// JSON as manifests have it: no key twice, no number beyond its limits, and integers told apart from fractions.
//
// parse(text) -> objects without a prototype, arrays, texts, true, false, null
//                integers: Number, BigInt beyond 2^53         others: Fraction, until plain() makes numbers of them

const MAX_INTEGER = (1n << 63n) - 1n;
// The metadata may be nested 100 deep, and they and unknown keys of a segment stand in others.
const MAX_DEPTH = 200;
const NUMBER = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;
const TEXT = /"(?:[^"\\]|\\.)*"/sy;
const WORDS = { true: true, false: false, null: null };

/** A number that was written with a fraction or an exponent. */
export class Fraction {
  constructor(value, written) {
    this.value = value;
    this.written = written;
  }
}

/** Parse one value; throws SyntaxError. */
export function parse(text) {
  const parser = new Parser(text);
  const value = parser.value(0);
  parser.skip();
  if (parser.place < text.length) parser.fail("something follows the value");
  return value;
}

/** Return a parsed value with fractions as numbers. */
export function plain(value) {
  if (value instanceof Fraction) return value.value;
  if (Array.isArray(value)) return value.map(plain);
  if (!isObject(value)) return value;
  const object = Object.create(null);
  for (const key of Object.keys(value)) object[key] = plain(value[key]);
  return object;
}

// U+FFFD has three bytes too.
const HALVES = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;
const quote = (text) => JSON.stringify(text.replace(HALVES, "\ufffd"));

/** Return a parsed value as JSON in its shortest form, but numbers as they were written. */
export function stringify(value) {
  if (typeof value === "bigint") return String(value);
  if (value instanceof Fraction) return value.written;
  if (Object.is(value, -0)) return "-0";
  if (typeof value === "string") return quote(value);
  if (Array.isArray(value)) return `[${value.map(stringify).join()}]`;
  if (!isObject(value)) return JSON.stringify(value);
  return `{${Object.keys(value).map((key) => `${quote(key)}:${stringify(value[key])}`).join()}}`;
}

export function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Fraction);
}

/** Return how many objects and arrays are within each other. */
export function depthOf(value) {
  if (!isObject(value) && !Array.isArray(value)) return 0;
  return 1 + Object.values(value).reduce((most, part) => Math.max(most, depthOf(part)), 0);
}

class Parser {
  constructor(text) {
    this.text = text;
    this.place = 0;
  }

  fail(problem) {
    throw new SyntaxError(`${problem}, at character ${this.place}`);
  }

  skip() {
    while (" \t\r\n".includes(this.text[this.place] ?? "x")) this.place += 1;
  }

  take(character) {
    this.skip();
    if (this.text[this.place] !== character) return false;
    this.place += 1;
    return true;
  }

  match(pattern) {
    pattern.lastIndex = this.place;
    const found = pattern.exec(this.text);
    if (found) this.place = pattern.lastIndex;
    return found;
  }

  value(depth) {
    if (depth > MAX_DEPTH) this.fail("values are nested too deep");
    if (this.take("{")) return this.object(depth);
    if (this.take("[")) return this.array(depth);
    if (this.text[this.place] === '"') return this.string();
    for (const [word, value] of Object.entries(WORDS)) {
      if (this.text.startsWith(word, this.place)) {
        this.place += word.length;
        return value;
      }
    }
    return this.number();
  }

  object(depth) {
    const object = Object.create(null);
    if (this.take("}")) return object;
    do {
      this.skip();
      const key = this.string();
      if (key in object) this.fail(`the key ${JSON.stringify(key)} is there twice`);
      if (!this.take(":")) this.fail("a colon is missing");
      object[key] = this.value(depth + 1);
    } while (this.take(","));
    if (!this.take("}")) this.fail("an object does not end");
    return object;
  }

  array(depth) {
    const array = [];
    if (this.take("]")) return array;
    do array.push(this.value(depth + 1));
    while (this.take(","));
    if (!this.take("]")) this.fail("an array does not end");
    return array;
  }

  string() {
    const found = this.match(TEXT);
    if (!found) this.fail("a text is missing");
    // It refuses control characters and unknown escapes.
    return JSON.parse(found[0]);
  }

  number() {
    const found = this.match(NUMBER);
    if (!found) this.fail("a value is missing");
    if (found[1] || found[2]) {
      const value = Number(found[0]);
      if (!Number.isFinite(value)) this.fail("a number is beyond 64 bits");
      return new Fraction(value, found[0]);
    }
    if (found[0] === "-0") return -0;
    // Many digits take long to convert.
    const exact = found[0].length > 20 ? MAX_INTEGER + 1n : BigInt(found[0]);
    if (exact > MAX_INTEGER || exact < -MAX_INTEGER) this.fail("an integer is beyond 64 bits");
    return Number.isSafeInteger(Number(exact)) ? Number(exact) : exact;
  }
}
