// Calls the control API of a sandbox, whose URL and key are in the environment.

export const { URL: url, KEY: key } = process.env;

export class Failed extends Error {
  constructor(status, error) {
    super(`${status}: ${error.message}`);
    Object.assign(this, { status, code: error.code, field: error.field });
  }
}

export async function call(method, path, body, query = {}) {
  const headers = { "X-API-KEY": key };
  if (["POST", "PUT", "PATCH"].includes(method)) headers["Content-Type"] = "application/json";
  const target = `${url}/sandbox/${path}?${new URLSearchParams(query)}`;
  const response = await fetch(target, { method, headers, body: body && JSON.stringify(body) });
  const text = await response.text();
  const result = text ? JSON.parse(text) : undefined;
  if (!response.ok) throw new Failed(response.status, result);
  return result;
}

export const fault = (type, fields = {}, order = { next: 1 }) =>
  call("POST", "faults", { ...order, fault: { type, ...fields } });

export const advance = (seconds) => call("POST", "clock", { advance: `${seconds}s` });

export const assertCount = (count, selection = {}) => call("POST", "assert", { count, ...selection });

export const event = (reference, fields = {}) => ({
  product_item_id: "p-1",
  pricing_id: "p-1",
  pricing_item_id: "p-1",
  pricing_item_config_id: "p-1",
  customer_reference: "acme-42",
  value: { amount: { quantity: "12.50", currency: "EUR" } },
  ...(reference && { reference }),
  ...fields,
});
