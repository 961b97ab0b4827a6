import assert from "node:assert/strict";
import test from "node:test";
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

type ChargeEvent = components["schemas"]["ChargeEvent"];
type StoredChargeEvent = components["schemas"]["StoredChargeEvent"];

const { SERVER: baseUrl = "", API_KEY = "", VIEW_KEY = "", TOKEN = "" } = process.env;
const withHeaders = (headers: Record<string, string>) => createClient<paths>({ baseUrl, headers });
const client = withHeaders({ "X-API-KEY": API_KEY });

const ids = {
  product_item_id: "proi_1",
  pricing_id: "pric_1",
  pricing_item_id: "prii_1",
  pricing_item_config_id: "pico_1",
};
const event: ChargeEvent = {
  ...ids,
  reference: "one",
  customer_reference: null,
  timestamp: "2026-09-01t09:00:29.50z",
  value: { number: "-12.50", amount: { quantity: "00012345678901234567890123456789012.50", currency: "EUR" } },
  period: { start_at: "2026-08-01T00:00:00+00:00", end_at: "2026-09-01t00:00:00z" },
};
const unknownID = "chda_00000000000000000000000000";

/** The value, which must be there. */
function present<T>(value: T | undefined, error: unknown): T {
  assert.ok(value !== undefined, JSON.stringify(error));
  return value;
}

test("create, batch, read, list and send again", async () => {
  const created = await client.POST("/v1/ingest/charge-data", { body: event });
  const stored: StoredChargeEvent = present(created.data, created.error);
  assert.equal(stored.timestamp, event.timestamp);
  assert.equal(stored.value?.amount?.quantity, event.value?.amount?.quantity);
  assert.equal(stored.customer_reference, null);
  const kind: "CHARGE_DATA" = stored.object_type;
  assert.equal(kind, "CHARGE_DATA");

  const several = await client.POST("/v1/ingest/charge-datas", {
    body: { charge_datas: [event, ids, { ...ids, reference: "two" }] },
  });
  const events = present(several.data, several.error).charge_datas;
  assert.equal(events.length, 3);
  assert.deepEqual(events[0], stored);
  assert.equal(several.response.headers.get("Idempotent-Replayed-Count"), "1");

  const params = { path: { id: stored.id } };
  const read = await client.GET("/v1/ingest/charge-data/{id}", { params });
  assert.deepEqual(read.data, stored);
  const head = await client.HEAD("/v1/ingest/charge-data/{id}", { params });
  assert.equal(head.response.status, 200);

  const all: StoredChargeEvent[] = [];
  let after: string | null = null;
  do {
    const page: { data?: components["schemas"]["ChargeEventList"]; error?: unknown } = await client.GET(
      "/v1/ingest/charge-data",
      { params: { query: { order: "asc", limit: 2, ...(after === null ? {} : { after }) } } },
    );
    const list = present(page.data, page.error);
    assert.ok(list.position);
    all.push(...list.data);
    after = list.next;
  } while (after !== null);
  assert.deepEqual(all, events);

  const replayed = await client.POST("/v1/ingest/charge-data", { body: stored });
  assert.deepEqual(replayed.data, stored);
  assert.equal(replayed.response.headers.get("Idempotent-Replayed"), "true");
});

test("errors", async () => {
  const first = await client.POST("/v1/ingest/charge-data", { body: event });
  const ingest = (body: ChargeEvent, as = client) => as.POST("/v1/ingest/charge-data", { body });

  const invalid = await ingest({ ...ids, value: { number: "1e3" }, timestamp: "2026-02-30T00:00:00Z" });
  assert.equal(invalid.response.status, 400);
  const code: "INVALID_FIELD" | undefined = invalid.error?.code === "INVALID_FIELD" ? invalid.error.code : undefined;
  assert.equal(code, "INVALID_FIELD");
  assert.deepEqual(invalid.error?.errors?.map((violation) => violation.field), ["value.number", "timestamp"]);

  const unauthorised = await ingest(event, withHeaders({ "X-API-KEY": "wrong" }));
  assert.equal(unauthorised.response.status, 401);
  assert.equal(unauthorised.error?.code, "UNAUTHORISED");
  const forbidden = await ingest(event, withHeaders({ "X-API-KEY": VIEW_KEY }));
  assert.equal(forbidden.response.status, 403);
  assert.equal(forbidden.error?.code, "USER_NOT_ALLOWED");

  const params = { path: { id: unknownID } };
  const missing = await client.GET("/v1/ingest/charge-data/{id}", { params });
  assert.equal(missing.response.status, 404);
  assert.equal(missing.error?.resource_id, unknownID);
  const head = await client.HEAD("/v1/ingest/charge-data/{id}", { params });
  assert.equal(head.response.status, 404);

  const conflict = await ingest({ ...ids, reference: "one", value: { number: "13" } });
  assert.equal(conflict.response.status, 409);
  assert.equal(conflict.error?.code, "RESOURCE_ALREADY_EXISTS");
  assert.equal(conflict.error?.resource_id, first.data?.id);

  const tooLarge = await ingest({ ...ids, id: "x".repeat(64 << 10) });
  assert.equal(tooLarge.response.status, 413);
  assert.equal(tooLarge.error?.code, "BAD_REQUEST");

  const page = await client.GET("/v1/ingest/charge-data", { params: { query: { limit: 1001 } } });
  assert.equal(page.response.status, 400);
  assert.equal(page.error?.field, "limit");

  const unavailable = await ingest(event, withHeaders({ Authorization: `Bearer ${TOKEN}` }));
  assert.equal(unavailable.response.status, 503);
  assert.equal(unavailable.error?.type, "API_ERROR");
  assert.equal(unavailable.response.headers.get("Idempotency-Retryable"), "true");
});
