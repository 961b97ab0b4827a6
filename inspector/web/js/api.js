// Calls to the server of the page. Errors have the response's status, or 0 without one, message, code and field.

const KEY = 'inspector.key';
const failure = (status, message, code = '', field = '') => Object.assign(new Error(message), { status, code, field });
const lost = (message) => (error) => { throw error.name === 'AbortError' ? error : failure(0, message); };
const decode = (response) => (response.status === 204 ? null
  : response.json().catch(lost('The response was cut off.')));

export const api = {
  platform: '', onUnauthorized: () => {}, // '' is the viewer's default platform
  get key() { return sessionStorage.getItem(KEY) ?? ''; },
  set key(value) {
    if (value) sessionStorage.setItem(KEY, value);
    else sessionStorage.removeItem(KEY);
  },
  // open sends a request and returns the response, if its status is 2xx. body is sent as JSON.
  async open(method, path, { params = {}, body, signal } = {}) {
    const headers = {};
    if (api.key) headers['X-API-KEY'] = api.key;
    if (api.platform) headers['x-platform-id'] = api.platform;
    if (body !== undefined) headers['Content-Type'] = 'application/json';
    const query = new URLSearchParams(Object.entries(params).filter(([, v]) => v !== '' && v != null));
    const response = await fetch(query.size ? `${path}?${query}` : path, { method, headers, signal,
      body: JSON.stringify(body) }).catch(lost('The server cannot be reached.'));
    if (response.ok) return response;
    const shown = await response.json().catch(() => null);
    const error = failure(response.status, shown?.message || `The server responded with ${response.status}.`,
      shown?.code, shown?.field);
    if (response.status === 401) api.onUnauthorized(error);
    throw error;
  },
  // get and send return the decoded JSON, or null for 204.
  get: async (path, params, signal) => decode(await api.open('GET', path, { params, signal })),
  send: async (method, path, body) => decode(await api.open(method, path, { body })),
};
