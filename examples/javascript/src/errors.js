// What can be wrong with a dataset, by the names that FORMAT.md has for it.

export class SplitDataError extends Error {
  /** @param {string} name  one of FORMAT.md, "Errors": CorruptRecordError, ManifestError, ... */
  constructor(name, message) {
    super(message);
    this.name = name;
  }
}

/** Throw an error unless a condition holds. */
export function demand(condition, name, message) {
  if (!condition) throw new SplitDataError(name, message);
}
