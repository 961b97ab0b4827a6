// Calls to the server of the page. Paths are relative to the page.

export class ApiError extends Error {
  // status is 0 if there was no response.
  constructor(status, code, message, field = '') {
    super(message);
    Object.assign(this, { status, code, field });
  }
}

const KEY = 'inspector.key';

export const api = {
  platform: '', // '' is the viewer's default
  onUnauthorized: () => {},

  get key() { return sessionStorage.getItem(KEY) ?? ''; },
  set key(value) {
    if (value) sessionStorage.setItem(KEY, value);
    else sessionStorage.removeItem(KEY);
  },

  // open sends a request and returns the response, if its status is 2xx. body is sent as JSON.
  async open(method, path, { params, body, signal } = {}) {
    const headers = {};
    if (api.key) headers['X-API-KEY'] = api.key;
    if (api.platform) headers['x-platform-id'] = api.platform;
    if (body !== undefined) headers['Content-Type'] = 'application/json';
    const query = new URLSearchParams(Object.entries(params ?? {}).filter(([, v]) => v !== '' && v != null));
    let response;
    try {
      response = await fetch(query.size ? `${path}?${query}` : path,
        { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      throw new ApiError(0, 'NO_RESPONSE', 'The server cannot be reached.');
    }
    if (response.ok) return response;
    const shown = await response.json().catch(() => ({}));
    const error = new ApiError(response.status, shown?.code ?? '',
      shown?.message || `The server responded with status ${response.status}.`, shown?.field);
    error.retryAfter = Number(response.headers.get('Retry-After')) || 0;
    if (response.status === 401) api.onUnauthorized(error);
    throw error;
  },

  // get and send return the decoded JSON, or null for 204.
  get(path, params, signal) { return decode(api.open('GET', path, { params, signal })); },
  send(method, path, body) { return decode(api.open(method, path, { body })); },
};

async function decode(pending) {
  const response = await pending;
  if (response.status === 204) return null;
  try {
    return await response.json();
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ApiError(0, 'NO_RESPONSE', 'The response was cut off.');
  }
}
