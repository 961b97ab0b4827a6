import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import test from "node:test";
import { curl } from "../web/js/curl.js";

const request = { method: "POST", scheme: "http", path: "/", header: [],
  body: { text: "{}", encoding: "", truncated: false, bytes: 2 } };

test("one request, whatever the URL has", () => {
  globalThis.location = { host: "127.0.0.1:1" };
  const command = curl({ ...request, host: location.host, path: "/a{b,c}?reference=[1-3]" });
  const tried = spawnSync("sh", ["-c", `${command} -sv`], { encoding: "utf8" }).stderr;
  assert.equal(tried.match(/Trying/g)?.length, 1, tried);
});

test("another host is pointed out", () => {
  globalThis.location = { host: "billing.example" };
  assert.match(curl({ ...request, host: "evil.example\x1b" }), /^# The host is not that of this page: evil\.example⟨/);
  assert.doesNotMatch(curl({ ...request, host: "billing.example" }), /#/);
});
