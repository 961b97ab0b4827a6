// The shell: sign-in, platform, tabs, routes, the connection.
//
// A tab is a module that exports
//   title                   text of the tab
//   mount(container, ctx)   fills the container and returns {update(params), unmount(), key(event)}
// update is called after mount and whenever the hash changes within the tab. params holds the hash's parameters as
// strings; #/requests/7?status=4xx is {id: '7', status: '4xx'}. unmount ends timers, listeners and requests; the
// container is emptied by the shell. key, optional, gets keys that were not typed into a field.
// ctx:
//   api                     get(path, params, signal), send(method, path, body), open(…); they throw ApiError
//   session                 the response of api/session
//   feed                    subscribe(listener), start(paused), see feed.js
//   href(tab, params)       the hash of a tab; params.id becomes part of the path
//   setParams(params, {replace})   changes the hash of this tab (all parameters), which leads to update
//   announce(text)          tells screen readers
//   shortcuts(list)         tells the help dialog the tab's keys, as [key, text]
// A 401 is handled by the shell (sign-in form); tabs ignore errors with status 401.

import { api } from './api.js';
import { field, h, kv, notice, select } from './dom.js';
import { Feed } from './feed.js';
import * as requests from './requests.js';
import * as events from './events.js';
import * as overview from './overview.js';
import * as sandbox from './sandbox.js';

const modules = { requests, events, overview, sandbox };
const byId = (id) => document.getElementById(id);
const main = byId('main');
const VALID_KEY = /^[\x21-\x7e]+$/;
const RETRY = 3; // seconds

let session = null;
let current = null; // {name, tab, keys}
let retry;

const feed = new Feed(api, (state) => {
  byId('connection').dataset.state = state;
  byId('connection').textContent = state;
});

function href(tab, { id, ...params } = {}) {
  const all = Object.entries({ ...params, platform: api.platform }).filter(([, v]) => v !== '' && v != null);
  const query = new URLSearchParams(all).toString();
  return `#/${tab}${id ? `/${encodeURIComponent(id)}` : ''}${query && `?${query}`}`;
}

function parse(hash) {
  const [path, query = ''] = hash.replace(/^#\/?/, '').split(/\?(.*)/s);
  const [name, id] = path.split('/');
  const params = Object.fromEntries(new URLSearchParams(query));
  if (id) params.id = decode(id);
  const known = Object.hasOwn(modules, name) && (name !== 'sandbox' || session.sandbox);
  return { name: known ? name : 'requests', params };
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

// takeKey moves a key from the hash to the session's storage.
function takeKey() {
  if (!location.hash.startsWith('#key=')) return false;
  const key = decode(location.hash.slice('#key='.length));
  if (VALID_KEY.test(key)) api.key = key;
  history.replaceState(null, '', `${location.pathname}${location.search}#/requests`);
  return true;
}

function route() {
  if (takeKey()) return start();
  if (!session) return;
  const { name, params } = parse(location.hash);
  const { platform, ...rest } = params;
  choosePlatform(session.platforms.includes(platform) ? platform : session.platform);
  if (current?.name !== name) mount(name);
  for (const link of byId('tabs').children) {
    link.href = href(link.dataset.tab);
    if (link.dataset.tab === name) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  current.tab.update(rest);
}

function mount(name) {
  const { title } = modules[name];
  const container = h('div', { class: 'tab', id: `tab-${name}` }, h('h1', { class: 'visually-hidden' }, title));
  unmount();
  main.replaceChildren(container);
  document.title = `${title} · Charge Inspector`;
  current = { name, keys: [] };
  current.tab = modules[name].mount(container, {
    api, session, feed, href,
    announce(text) { byId('live').textContent = text; },
    shortcuts(list) { current.keys = list; },
    setParams(params, { replace = false } = {}) {
      const hash = href(name, params);
      if (hash === location.hash) return;
      history[replace ? 'replaceState' : 'pushState'](null, '', hash);
      route();
    },
  });
}

function unmount() {
  current?.tab.unmount();
  current = null;
}

// choosePlatform unmounts the tab if it shows another platform.
function choosePlatform(wanted) {
  if (byId('platform')) byId('platform').value = wanted;
  const platform = wanted === session.platform ? '' : wanted;
  if (platform === api.platform) return;
  api.platform = platform;
  unmount();
  feed.start();
}

function showHeader() {
  const goTo = (event) => { location.hash = `#/${current.name}?platform=${encodeURIComponent(event.target.value)}`; };
  byId('platform-box').replaceChildren(session.platforms.length > 1
    ? select({ id: 'platform', 'aria-label': 'Platform', onchange: goTo }, session.platforms.map((p) => [p, p]))
    : h('span', { class: 'muted', title: 'Platform' }, session.platform));
  byId('tabs').replaceChildren(...Object.entries(modules).filter(([name]) => name !== 'sandbox' || session.sandbox)
    .map(([name, { title }]) => h('a', { href: href(name), 'data-tab': name }, title)));
  byId('help').hidden = byId('connection').hidden = false;
  byId('sign-out').hidden = api.key === '';
}

// leave ends the session and shows why, or a form for a key.
function leave(title, ...shown) {
  clearTimeout(retry);
  unmount();
  feed.stop();
  session = null;
  for (const id of ['tabs', 'platform-box']) byId(id).replaceChildren();
  for (const id of ['help', 'sign-out', 'connection']) byId(id).hidden = true;
  byId('shortcuts')?.close();
  document.title = `${title} · Charge Inspector`;
  main.replaceChildren(...shown);
}

function signOut(message = '') {
  api.key = '';
  const input = h('input', { id: 'key', type: 'password', required: true, autocomplete: 'off', spellcheck: 'false',
    'aria-describedby': 'sign-in-error' });
  const error = h('p', { id: 'sign-in-error', class: 'field-error', role: 'alert' }, message);
  const submit = (event) => {
    event.preventDefault();
    const key = input.value.trim();
    if (!VALID_KEY.test(key)) {
      error.textContent = 'An API key has only letters, digits and punctuation, without spaces.';
      return;
    }
    api.key = key;
    start();
  };
  leave('Sign in', h('form', { id: 'sign-in', class: 'card sign-in', onsubmit: submit }, h('h1', {}, 'Sign in'),
    h('p', { class: 'muted' }, 'Use an API key with the permission METER_DATA.VIEW. This tab keeps it until you close it.'),
    field('API key', input), error, h('button', { class: 'btn primary', type: 'submit' }, 'Sign in')));
  input.focus();
}

api.onUnauthorized = (error) => signOut(api.key || session ? error.message : '');

async function start() {
  clearTimeout(retry);
  try {
    api.platform = '';
    session = await api.get('api/session');
    unmount();
    showHeader();
    feed.start();
    route();
  } catch (error) {
    if (error.status === 401) return;
    leave('Not available', h('div', { id: 'unavailable', class: 'empty' },
      h('h1', {}, 'The inspector is not available'), notice('error', error.message), h('div', { class: 'group' },
        h('button', { class: 'btn primary', type: 'button', onclick: start }, 'Try again'),
        api.key && h('button', { class: 'btn', type: 'button', onclick: () => signOut() }, 'Use another key'))));
    if (error.status === 0 || error.status >= 500) retry = setTimeout(start, RETRY * 1000);
  }
}

function showHelp() {
  const keys = [['1 … 4', 'Go to a tab'], ...current.keys, ['?', 'Show this list']];
  const dialog = h('dialog', { id: 'shortcuts', 'aria-labelledby': 'shortcuts-title', onclose: () => dialog.remove() },
    h('h2', { id: 'shortcuts-title' }, 'Keyboard shortcuts'),
    kv(keys.map(([key, text]) => [h('span', {}, key.split(' ').map((k) => h('kbd', {}, k))), text])),
    h('form', { method: 'dialog' }, h('button', { class: 'btn primary' }, 'Close')));
  document.body.append(dialog);
  dialog.showModal();
}

document.addEventListener('keydown', (event) => {
  if (!session || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (byId('shortcuts') || event.target.closest('input, select, textarea')) return;
  const tab = byId('tabs').children[Number(event.key) - 1];
  if (event.key === '?') showHelp();
  else if (tab) tab.click();
  else current.tab.key?.(event);
});
document.addEventListener('visibilitychange', () => session && feed.start());
window.addEventListener('hashchange', route);
byId('help').addEventListener('click', showHelp);
byId('sign-out').addEventListener('click', () => signOut());
byId('skip').addEventListener('click', (event) => {
  event.preventDefault(); // the hash is the route
  main.focus();
});

takeKey();
start();
