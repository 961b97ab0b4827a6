// The shell: sign-in, platform, tabs, routes, the connection.
//
// A tab is a module that exports
//   title                   text of the tab
//   mount(container, ctx)   fills the container and returns {update(params), unmount()}
// update is called after mount and whenever the hash changes within the tab. params holds the hash's parameters as
// strings; #/requests/7?status=4xx is {id: '7', status: '4xx'}. unmount ends timers, listeners and requests; the
// container is emptied by the shell. key(event), optional, gets keys that were not typed into a field.
// ctx:
//   api                     get(path, params, signal), send(method, path, body), open(…); they throw ApiError
//   session                 the response of api/session
//   feed                    subscribe(listener) and pause, see feed.js
//   href(tab, params)       the hash of a tab; params.id becomes part of the path
//   setParams(params, {replace})   changes the hash of this tab (all parameters), which leads to update
//   announce(text)          tells screen readers
//   shortcuts(list)         tells the help dialog the tab's keys, as [key, text]
// A 401 is handled by the shell (sign-in form); tabs ignore errors with status 401.

import { api } from './api.js';
import { h, field, kv, notice, select } from './dom.js';
import { Feed } from './feed.js';
import * as requests from './requests.js';
import * as events from './events.js';
import * as overview from './overview.js';
import * as sandbox from './sandbox.js';

const modules = { requests, events, overview, sandbox };
const byId = (id) => document.getElementById(id);
const main = byId('main');
const STATES = {
  connecting: 'Connecting', live: 'Live', polling: 'Polling', disconnected: 'Disconnected', paused: 'Paused',
  hidden: 'Paused',
};

let session = null;
let current = null; // {name, tab}
let keys = [];
let retry;

const feed = new Feed(api, (state) => {
  byId('connection').dataset.state = state;
  byId('connection').textContent = STATES[state];
});

function href(tab, params = {}) {
  const { id, ...rest } = params;
  if (api.platform) rest.platform = api.platform;
  const query = new URLSearchParams(Object.entries(rest).filter(([, v]) => v !== '' && v != null)).toString();
  return `#/${tab}${id ? `/${encodeURIComponent(id)}` : ''}${query ? `?${query}` : ''}`;
}

function parse(hash) {
  const [path, query = ''] = hash.replace(/^#\/?/, '').split(/\?(.*)/s);
  const [name, id] = path.split('/');
  const params = Object.fromEntries(new URLSearchParams(query));
  if (id) params.id = safeDecode(id);
  return { name: Object.hasOwn(modules, name) ? name : 'requests', params };
}

function safeDecode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

// takeKey moves a key from the hash to the session's storage.
function takeKey() {
  if (!location.hash.startsWith('#key=')) return false;
  api.key = safeDecode(location.hash.slice('#key='.length));
  history.replaceState(null, '', `${location.pathname}${location.search}#/requests`);
  return true;
}

function announce(text) {
  byId('live').textContent = text;
}

function route() {
  if (takeKey()) return start();
  if (!session) return;
  const { name: wanted, params } = parse(location.hash);
  const name = wanted === 'sandbox' && !session.sandbox ? 'requests' : wanted;
  choosePlatform(params);
  if (current?.name !== name) {
    unmount();
    keys = [];
    const container = h('div', { class: 'tab', id: `tab-${name}` });
    main.replaceChildren(container);
    current = { name, tab: modules[name].mount(container, context(name)) };
    document.title = `${modules[name].title} · Charge inspector`;
  }
  for (const link of byId('tabs').children) {
    link.setAttribute('href', href(link.dataset.tab));
    if (link.dataset.tab === name) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  current.tab.update(params);
}

function context(name) {
  return {
    api, session, feed, href, announce,
    setParams(params, { replace = false } = {}) {
      const hash = href(name, params);
      if (hash === location.hash) return;
      history[replace ? 'replaceState' : 'pushState'](null, '', hash);
      route();
    },
    shortcuts(list) { keys = list; },
  };
}

function unmount() {
  current?.tab.unmount();
  current = null;
}

// choosePlatform takes the platform of the hash, and starts the tab again if it is another one.
function choosePlatform(params) {
  const wanted = session.platforms.includes(params.platform) ? params.platform : session.platform;
  delete params.platform;
  const id = wanted === session.platform ? '' : wanted;
  if (byId('platform')) byId('platform').value = wanted;
  if (id === api.platform) return;
  api.platform = id;
  unmount();
  feed.start();
}

function showPlatforms() {
  const box = byId('platform-box');
  if (session.platforms.length < 2) {
    box.replaceChildren(h('span', { class: 'platform', title: 'Platform' }, session.platform));
    return;
  }
  const change = (event) => {
    location.hash = `#/${current.name}?${new URLSearchParams({ platform: event.target.value })}`;
  };
  const control = select({ id: 'platform', 'aria-label': 'Platform', onchange: change },
    session.platforms.map((p) => [p, p]), api.platform || session.platform);
  box.replaceChildren(control);
}

function showTabs() {
  byId('tabs').replaceChildren(...Object.entries(modules)
    .filter(([name]) => name !== 'sandbox' || session.sandbox)
    .map(([name, { title }]) => h('a', { href: href(name), 'data-tab': name, id: `nav-${name}` }, title)));
}

// leave shows that there is no session: the form for a key, or a message.
function leave(...shown) {
  clearTimeout(retry);
  unmount();
  feed.stop();
  session = null;
  byId('tabs').replaceChildren();
  byId('platform-box').replaceChildren();
  for (const id of ['help', 'sign-out', 'connection']) byId(id).hidden = true;
  main.replaceChildren(...shown);
}

function showSignIn(message) {
  if (byId('sign-in')) return;
  const input = h('input', {
    id: 'key', type: 'password', required: true, autocomplete: 'off', spellcheck: 'false', autocapitalize: 'off',
    'aria-describedby': 'sign-in-error',
  });
  const error = h('p', { id: 'sign-in-error', class: 'field-error', role: 'alert' }, message);
  const submit = (event) => {
    event.preventDefault();
    const key = input.value.trim();
    if (!/^[\x21-\x7e]+$/.test(key)) {
      error.textContent = 'Enter an API key: letters, digits and punctuation, without spaces.';
      return;
    }
    api.key = key;
    start();
  };
  document.title = 'Sign in · Charge inspector';
  leave(h('form', { id: 'sign-in', class: 'card sign-in', onsubmit: submit },
    h('h1', {}, 'Sign in'),
    h('p', { class: 'muted' },
      'Use an API key with the permission METER_DATA.VIEW. This tab keeps it until you close it.'),
    field('API key', input), error,
    h('button', { class: 'btn primary', type: 'submit' }, 'Sign in')));
  input.focus();
}

api.onUnauthorized = (error) => {
  const had = api.key !== '';
  api.key = '';
  byId('sign-in')?.remove();
  showSignIn(had || session ? `Signed out: ${error.message}` : '');
};

async function start(attempt = 0) {
  clearTimeout(retry);
  try {
    const found = await api.get('api/session');
    leave();
    session = found;
    api.platform = '';
    for (const id of ['help', 'connection']) byId(id).hidden = false;
    byId('sign-out').hidden = api.key === '';
    showTabs();
    showPlatforms();
    feed.start();
    route();
  } catch (error) {
    if (error.status === 401) return;
    const again = () => start();
    leave(h('div', { id: 'unavailable', class: 'empty' }, h('h1', {}, 'The inspector is not available'),
      notice('error', error.message),
      h('button', { class: 'btn primary', type: 'button', onclick: again }, 'Try again'),
      api.key !== '' && h('button', { class: 'btn', type: 'button', onclick: signOut }, 'Use another key')));
    if (error.status === 0 || error.status >= 500) {
      retry = setTimeout(() => start(attempt + 1), [1, 2, 5, 10][Math.min(attempt, 3)] * 1000);
    }
  }
}

function signOut() {
  api.key = '';
  byId('sign-in')?.remove();
  showSignIn('');
}

function showHelp() {
  const list = [['1 … 4', 'Go to a tab'], ...keys, ['?', 'Show this list']];
  const dialog = h('dialog', { id: 'shortcuts', 'aria-labelledby': 'shortcuts-title', onclose: () => dialog.remove() },
    h('h2', { id: 'shortcuts-title' }, 'Keyboard shortcuts'),
    kv(list.map(([key, text]) => [h('span', {}, key.split(' ').map((k) => h('kbd', {}, k))), text])),
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
  else current?.tab.key?.(event);
});
byId('help').addEventListener('click', showHelp);
byId('sign-out').addEventListener('click', signOut);
byId('skip').addEventListener('click', (event) => {
  event.preventDefault(); // the hash is the route
  main.focus();
});
window.addEventListener('hashchange', route);

takeKey();
start();
