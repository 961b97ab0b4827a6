import assert from "node:assert/strict";
import test from "node:test";
import { sum } from "../web/js/decimal.js";

const cases = [
  ["nothing", [], null],
  ["nothing decimal", [null, undefined, "", "1e3", "1.", ".5", "+1", " 1", "NaN", 1], null],
  ["one value, as sent", ["7"], "7"],
  ["the largest scale stays", ["1.5", "2", "0.250"], "3.750"],
  ["what a float gets wrong", ["0.1", "0.2"], "0.3"],
  ["negatives below one", ["-0.05", "0.01"], "-0.04"],
  ["zero has no sign", ["-1.50", "1.5"], "0.00"],
  ["minus zero", ["-0", "-0.0"], "0.0"],
  ["leading zeros", ["007", "-0001.0"], "6.0"],
  ["38 digits", ["99999999999999999999999999999999999999", "1"], "100000000000000000000000000000000000000"],
  ["38 digits, far apart in scale", ["99999999999999999999999999999999999999", "0." + "0".repeat(36) + "1"],
    "99999999999999999999999999999999999999." + "0".repeat(36) + "1"],
  ["38 decimals cancel", ["1", "-0." + "9".repeat(37)], "0." + "0".repeat(36) + "1"],
  ["others are left out", ["1.0", null, "x", "-3"], "-2.0"],
];

for (const [name, texts, want] of cases) test(name, () => assert.equal(sum(texts), want));
