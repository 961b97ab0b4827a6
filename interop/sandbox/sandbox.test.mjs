import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { charge } from "./billing.mjs";
import { advance, assertCount, call, event, fault, key, url } from "./sandbox.mjs";

// The client's pauses take no real time.
const send = (sent, options = {}) => charge(sent, { pause: advance, ...options });
const statuses = async () => (await call("GET", "requests")).requests.map((r) => r.status);

beforeEach(() => call("POST", "reset"));

describe("a lost response", () => {
  test("bills twice without a reference", async () => {
    await fault("reset", { after_commit: true });
    await send(event());
    await assert.rejects(assertCount(1), { status: 422, code: "ASSERTION_FAILED", message: /events: 2 stored, want 1/ });
    await assertCount(2);
  });

  for (const [type, fields] of [
    ["reset", { after_commit: true }],
    ["reset", {}],
    ["truncated", {}],
    ["malformed", {}],
    ["status", { status: 502, after_commit: true }],
    ["status", { status: 429, retry_after: "2s" }],
    ["store_error", { error: "outcome_unknown", after_commit: true }],
    ["store_error", { error: "overloaded" }],
  ]) {
    test(`bills once with a reference: ${type} ${JSON.stringify(fields)}`, async () => {
      await fault(type, fields, { next: 2 });
      await send(event("order-1"));
      await assertCount(1, { reference: "order-1" });
      await call("POST", "assert", { no_rejections: true });
      assert.deepEqual(await call("GET", "faults"), { faults: [] });
    });
  }

  for (const [type, fields] of [["delay", { delay: "60s" }], ["slow_body", { duration: "60s" }]]) {
    test(`bills once if it is late: ${type}`, async () => {
      await fault(type, fields);
      await send(event("order-1"), { timeout: 200 });
      await assertCount(1);
    });
  }
});

describe("an outage", () => {
  test("ends with the clock", async () => {
    await call("POST", "faults", { for: "1h", fault: { type: "status", status: 503 } });
    await send(event("order-1"));
    assert.deepEqual(await statuses(), [503, 201]);
  });

  test("of a quota", async () => {
    await call("POST", "faults", { quota: { requests: 2, window: "10m" } });
    for (let i = 0; i < 5; i++) await send(event(`order-${i}`));
    assert.deepEqual(await statuses(), [201, 201, 429, 201, 201, 429, 201]);
  });

  test("of some requests", async () => {
    const added = await fault("status", { status: 503 }, { next: 1, match: { customer: "acme-43", route: "charge-data" } });
    assert.equal(added.description, 'FailNext(1, Status(503)) for customer "acme-43", route charge-data');
    await send(event("order-1"));
    await send(event("order-2", { customer_reference: "acme-43" }));
    assert.deepEqual(await statuses(), [201, 503, 201]);
    await assert.rejects(call("DELETE", `faults/${added.id}`), { status: 404 });
  });

  test("of a restart", async () => {
    await fault("delay", { delay: "60s" });
    const sent = send(event("order-1"));
    await call("GET", "wait", undefined, { requests: 1 });
    await call("POST", "restart");
    await sent;
    await assertCount(1, { reference: "order-1" });
  });
});

test("the clock", async () => {
  await call("POST", "clock", { set: "2099-01-01T00:00:00Z" });
  assert.match((await send(event("order-1"))).timestamp, /^2099-01-01T00:00/);
  await assert.rejects(call("POST", "clock", { set: "2098-01-01T00:00:00Z" }), { status: 400, field: "set" });
});

describe("waiting and asserting", () => {
  test("an event", async () => {
    const found = call("GET", "wait", undefined, { reference: "order-1", timeout: "20s" });
    await send(event("order-1"));
    assert.deepEqual((await found).events.map((e) => e.reference), ["order-1"]);
    await assert.rejects(call("GET", "wait", undefined, { count: 2, timeout: "50ms" }), { status: 422, message: /waited for 2/ });
  });

  test("a near miss", async () => {
    await send(event("order_42"));
    await assert.rejects(assertCount(1, { reference: "order-42" }), { message: /a similar reference is stored/ });
    const want = event("order_42", { value: { amount: { quantity: "12.5", currency: "EUR" } } });
    await assert.rejects(call("POST", "assert", { event: want }), { message: /- value.amount.quantity: "12.5"\n {2}\+ / });
    await call("POST", "assert", { event: event("order_42") });
  });

  test("a rejection", async () => {
    await assert.rejects(send(event("order-1", { value: { numbr: "1" } })));
    await assert.rejects(call("POST", "assert", { no_rejections: true }), { message: /did you mean value.number\?/ });
    const { requests: [rejected] } = await call("GET", "requests", undefined, { rejected: true });
    assert.equal(rejected.field, "value.numbr");
    assert.deepEqual(rejected.header["X-Api-Key"], ["•••"]);
  });

  test("seeded events", async () => {
    await call("POST", "events", { samples: 3, platform: "acme" });
    const page = await call("GET", "events", undefined, { platform: "acme", limit: 2 });
    assert.deepEqual([page.events.length, page.count, page.more], [2, 3, true]);
  });
});

describe("the vendor's quirks", () => {
  const off = {
    min_reference_length: 0, max_future_skew: null, whole_seconds: null, max_batch_events: 0,
    return_original: false, catalogue: false, rate_limit: null,
  };
  beforeEach(() => call("PATCH", "profile", off));

  for (const [name, profile, sent, field] of [
    ["a short reference", { min_reference_length: 10 }, event("too-short"), "reference"],
    ["a future timestamp", { max_future_skew: "30m" }, event("order-1", { timestamp: "2098-01-01T00:00:00Z" }), "timestamp"],
    ["a fraction of a second", { whole_seconds: true }, event("order-1", { timestamp: "2020-01-01T00:00:00.5Z" }), "timestamp"],
    ["an unknown customer", { catalogue: true }, event("order-1"), "customer_reference"],
  ]) {
    test(name, async () => {
      await call("PUT", "catalogue", { products: ["p-1"] });
      await send(sent);
      await call("PATCH", "profile", profile);
      await assert.rejects(send({ ...sent, description: "another" }));
      const { requests: [rejected] } = await call("GET", "requests", undefined, { rejected: true });
      assert.equal(rejected.field, field);
    });
  }

  test("a repeated reference", async () => {
    const first = await send(event("order-1"));
    const changed = event("order-1", { customer_reference: "acme-43" });
    await assert.rejects(send(changed), /409/);
    await call("PATCH", "profile", { return_original: true });
    assert.deepEqual(await send(changed), first);
  });

  test("the rate limit", async () => {
    await call("PATCH", "profile", { rate_limit: { requests: 1, window: "1h" } });
    for (let i = 0; i < 3; i++) await send(event(`order-${i}`));
    assert.deepEqual(await statuses(), [201, 429, 201, 429, 201]);
  });
});

test("invalid calls", async () => {
  await assert.rejects(fault("crash"), { status: 400, code: "INVALID_FIELD", field: "fault.type", message: /one of status, reset/ });
  for (const [headers, status] of [[{}, 401], [{ "X-API-KEY": "wrong" }, 401], [{ Authorization: `Bearer ${key}` }, 200]]) {
    assert.equal((await fetch(`${url}/sandbox/state`, { headers })).status, status);
  }
});
