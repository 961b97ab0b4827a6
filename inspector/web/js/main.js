// The shell: sign-in, platform, tabs, routes, the connection.
// A tab is a module that exports mount(container, ctx), which fills the container and returns
//   update(params)   called after mount and when the hash changes; #/requests/7?status=4xx is {id: '7', status: '4xx'}
//   unmount()        ends timers, listeners and requests
//   key(event)       optional; gets keys that were not typed into a field
// ctx has api (a 401 leads to the sign-in form; tabs ignore it), session (the response of api/session), feed,
//   href(tab, params) and setParams(params, {replace}) for hashes, announce(text) for screen readers
import { api } from './api.js';
import { button, h, notice } from './dom.js';
import { Feed } from './feed.js';
import * as requests from './requests.js';
import * as events from './events.js';
import * as overview from './overview.js';
import * as relay from './relay.js';
import * as sandbox from './sandbox.js';

const modules = { requests, events, overview, relay, sandbox };
const titleOf = (name) => name[0].toUpperCase() + name.slice(1);
const byId = (id) => document.getElementById(id);
const VALID_KEY = /^[\x21-\x7e]+$/;

let session = null;
let current = null; // {name, tab}
let retry;
let starting = new AbortController();

const feed = new Feed(api, (state) => {
  byId('connection').dataset.state = state;
  byId('connection').textContent = state;
});

function href(tab, { id, ...params } = {}) {
  const all = Object.entries({ ...params, platform: api.platform }).filter(([, v]) => v !== '' && v != null);
  const query = new URLSearchParams(all).toString();
  return `#/${tab}${id ? `/${encodeURIComponent(id)}` : ''}${query && `?${query}`}`;
}

const shown = () => Object.keys(modules).filter((name) => session[name] !== false);
// decode never throws, unlike decodeURIComponent.
const decode = (text) => new URLSearchParams(`text=${text.replace(/[+&]/g, encodeURIComponent)}`).get('text');

function parse(hash) {
  const [path, query = ''] = hash.replace(/^#\/?/, '').split(/\?(.*)/s);
  const [name, id] = path.split('/');
  const params = Object.fromEntries(new URLSearchParams(query));
  if (id) params.id = decode(id);
  return { name: shown().includes(name) ? name : 'requests', params };
}

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
  const { name, params: { platform, ...params } } = parse(location.hash);
  const wanted = session.platforms.includes(platform) && platform !== session.platform ? platform : '';
  if (wanted !== api.platform) {
    api.platform = wanted;
    unmount();
    feed.start();
  }
  if (byId('platform')) byId('platform').value = wanted || session.platform;
  if (current?.name !== name) mount(name);
  for (const link of byId('tabs').children) {
    link.href = href(link.dataset.tab);
    link.ariaCurrent = link.dataset.tab === name ? 'page' : null;
  }
  current.tab.update(params);
}

function mount(name) {
  const title = titleOf(name);
  const container = h('div', { class: 'tab', id: `tab-${name}` }, h('h1', { class: 'visually-hidden' }, title));
  unmount();
  byId('main').replaceChildren(container);
  document.title = `${title} · Charge Inspector`;
  current = { name };
  current.tab = modules[name].mount(container, { api, session, feed, href,
    announce(text) { byId('live').textContent = text; },
    setParams(params, { replace = false } = {}) {
      const hash = href(name, params);
      if (hash === location.hash) return;
      history[replace ? 'replaceState' : 'pushState'](null, '', hash);
      route();
    } });
}

function unmount() {
  current?.tab.unmount();
  current = null;
}

function showHeader() {
  const goTo = (event) => { location.hash = `#/${current?.name}?platform=${encodeURIComponent(event.target.value)}`; };
  byId('platform-box').replaceChildren(session.platforms.length > 1
    ? h('select', { id: 'platform', 'aria-label': 'Platform', onchange: goTo },
      session.platforms.map((name) => h('option', {}, name)))
    : h('span', { class: 'muted', title: 'Platform' }, session.platform));
  byId('tabs').replaceChildren(...shown().map((name) => h('a', { 'data-tab': name }, titleOf(name))));
  byId('help').hidden = byId('connection').hidden = false;
  byId('sign-out').hidden = api.key === '';
}

function reset() {
  clearTimeout(retry);
  starting.abort();
  unmount();
  feed.stop();
  session = null;
  api.platform = '';
}

// leave ends the session and shows why, or a form for a key.
function leave(title, content) {
  reset();
  for (const id of ['tabs', 'platform-box']) byId(id).replaceChildren();
  for (const id of ['help', 'sign-out', 'connection']) byId(id).hidden = true;
  byId('shortcuts').close();
  document.title = `${title} · Charge Inspector`;
  byId('main').replaceChildren(content);
}

function signOut(message = '') {
  api.key = '';
  leave('Sign in', byId('sign-in-template').content.cloneNode(true));
  byId('sign-in').addEventListener('submit', signIn);
  byId('sign-in-error').textContent = message;
  byId('key').focus();
}

function signIn(event) {
  event.preventDefault();
  const key = byId('key').value.trim();
  const valid = VALID_KEY.test(key);
  byId('sign-in-error').textContent = valid ? '' : 'A key has letters, digits and punctuation, but no spaces.';
  if (!valid) return;
  api.key = key;
  start();
}

api.onUnauthorized = (error) => signOut(api.key || session ? error.message : '');

async function start() {
  reset();
  const { signal } = starting = new AbortController();
  try {
    session = await api.get('api/session', {}, signal);
    showHeader();
    feed.start();
    route();
  } catch (error) {
    if (signal.aborted) return;
    leave('Not available', h('div', { id: 'unavailable', class: 'empty' },
      h('h1', {}, 'The inspector is not available'), notice('error', error.message),
      button('Try again', start, { class: 'btn primary' }), api.key && button('Use another key', () => signOut())));
    if (error.status === 0 || error.status >= 500) retry = setTimeout(start, 3000);
  }
}

function showHelp() {
  const dialog = byId('shortcuts');
  for (const row of dialog.querySelectorAll('[data-for]')) row.hidden = row.dataset.for !== current.name;
  dialog.showModal();
}

document.addEventListener('keydown', (event) => {
  if (!session || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (byId('shortcuts').open || event.target.closest('input, select, textarea')) return;
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
  byId('main').focus();
});

takeKey();
start();
