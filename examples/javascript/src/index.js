// splitdata datasets in JavaScript: read, searched and verified.

export { Dataset } from "./dataset.js";
export { SplitDataError } from "./errors.js";
export { verify } from "./verify.js";
