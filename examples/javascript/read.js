#!/usr/bin/env node
// Shows what is in a dataset: its records, the one with a key, or what a verification finds.

import { Dataset, verify } from "./src/index.js";

const [folder, option, ...keys] = process.argv.slice(2);
if (!folder || (option && !["--find", "--verify"].includes(option))) {
  console.error("usage: node read.js DATASET [--verify | --find KEY ...]");
  process.exit(2);
}

const dataset = new Dataset(folder);
if (option === "--verify") {
  const findings = verify(dataset);
  for (const { path, problem } of findings) console.log(`${path}: ${problem}`);
  console.log(findings.length ? `${findings.length} findings` : `all ${dataset.length} records are intact`);
  process.exitCode = findings.length ? 1 : 0;
} else if (option === "--find") {
  for (const key of keys) console.log(JSON.stringify(key), dataset.find(key) ?? "is not there");
} else {
  for (let position = 0; position < dataset.length; position += 1) {
    try {
      const record = dataset.record(position);
      console.log(position, record.length, JSON.stringify(record.toString("latin1", 0, 30)));
    } catch (error) {
      console.log(position, `${error.name}: ${error.message}`);
    }
  }
}
dataset.close();
