// The requests that the endpoint received, newest first.

import { button, duration, empty, field, h, notice, number, plural, select, statusBadge, time } from './dom.js';
import { cut } from './code.js';
import { List } from './list.js';
import { Detail } from './request.js';

export const title = 'Requests';

const COLUMNS = [['time', 'Time'], ['status', 'Status'], ['route', 'Request'], ['references', 'Reference'],
  ['events', 'Events'], ['code', 'Code and field'], ['platform', 'Platform'], ['subject', 'Subject'],
  ['duration', 'Duration']];
const ROUTES = ['charge-data', 'charge-datas', 'charge-data/{id}', 'charge-data list'].map((route) => [route, route]);
const FILTERS = { // label and options
  status: ['Status', [['', 'All'], ['2xx', '2xx accepted'], ['4xx', '4xx rejected'], ['409', '409 conflict'],
    ['5xx', '5xx failed'], ['none', 'No response']]],
  route: ['Route', [['', 'All'], ...ROUTES, ['none', 'No route']]],
  code: ['Code'], reference: ['Reference'], customer: ['Customer'], text: ['Text'],
};
const KEYS = [['j ↓', 'Next request'], ['k ↑', 'Previous request'], ['Enter', 'Open the request'],
  ['Esc', 'Close the request'], ['Home', 'Newest request'], ['/', 'Filter by text'], ['p', 'Pause or resume']];
const FIRST = 200; // requests at first
const MORE = 1000; // requests per call after that
const RETRY = 5; // seconds
const ANNOUNCE = 5; // seconds between announcements

export const mount = (container, ctx) => new Requests(container, ctx);

function eventsText(r) {
  if (r.events === 0) return r.event_count ? `0 of ${number(r.event_count)}` : '–';
  return r.replayed ? `${number(r.events)} (${plural(r.replayed, 'replay')})` : number(r.events);
}

class Requests {
  #ctx; #filters = null; #held = []; #newest = 0; #more = false; #failed = false; #arrived = 0; #timers = {};
  #load = new AbortController(); #jobs = Promise.resolve(); #queued = new Set(); #detail = null;

  constructor(container, ctx) {
    this.#ctx = ctx;
    this.list = new List({ label: 'Requests, newest first', columns: COLUMNS, make: (r) => this.#cells(r),
      onEnd: () => this.#run('older', () => this.#loadOlder()) });
    this.list.el.addEventListener('scroll', () => this.list.el.scrollTop === 0 && this.#release());
    this.controls = Object.fromEntries(Object.keys(FILTERS).map((name) => [name, this.#control(name)]));
    this.clear = button('Clear', () => this.#clear(), { id: 'clear-filters' });
    this.pause = button('Pause', () => this.#pause(!ctx.feed.paused), { id: 'pause', 'aria-keyshortcuts': 'p' });
    this.toggle = button('Filters', () => { this.toggle.ariaExpanded = this.form.toggleAttribute('data-open'); },
      { id: 'toggle-filters', 'aria-expanded': 'false' });
    this.fresh = button('', () => this.#top(), { id: 'new-requests', class: 'btn primary', hidden: true });
    this.form = h('form', { id: 'filters', class: 'toolbar filters', role: 'search', 'aria-label': 'Filter requests',
      onkeydown: (event) => this.#typed(event) },
    Object.entries(FILTERS).map(([name, [label]]) => field(label, this.controls[name], { 'data-filter': name })),
    h('div', { class: 'group' }, this.toggle, this.clear, this.pause));
    this.message = h('div', { class: 'list-message' });
    this.count = h('p', { id: 'count', class: 'visually-hidden' });
    const left = (event) => event.relatedTarget !== this.fresh && this.#release();
    for (const el of [this.list.rows, this.fresh]) el.addEventListener('pointerleave', left);
    this.panels = h('div', { class: 'panels' },
      h('div', { class: 'list-box' }, this.count, this.list.el, this.fresh, this.message));
    container.append(this.form, this.panels);
    ctx.shortcuts(KEYS);
    this.#pause(ctx.feed.paused);
    this.unsubscribe = ctx.feed.subscribe((newest) => this.#run('newer', () => this.#loadNewer(newest)));
  }

  #control(name) {
    const [, options] = FILTERS[name];
    if (options) return select({ id: `filter-${name}`, onchange: () => this.#apply(false) }, options);
    return h('input', { id: `filter-${name}`, type: 'search', autocomplete: 'off', spellcheck: 'false', oninput: () => {
      clearTimeout(this.#timers.filter);
      this.#timers.filter = setTimeout(() => this.#apply(true), 250);
    } });
  }

  unmount() {
    this.unsubscribe();
    this.list.observer.disconnect();
    this.#load.abort();
    this.#detail?.remove();
    Object.values(this.#timers).forEach(clearTimeout);
  }

  update({ id = null, ...params }) {
    const filters = Object.fromEntries(Object.keys(FILTERS).filter((f) => params[f]).map((f) => [f, params[f]]));
    for (const [name, control] of Object.entries(this.controls)) {
      if (control.value !== (filters[name] ?? '')) control.value = filters[name] ?? '';
    }
    const used = Object.keys(filters).length;
    this.clear.disabled = used === 0;
    this.toggle.textContent = used ? `Filters (${used})` : 'Filters';
    const changed = JSON.stringify(filters) !== JSON.stringify(this.#filters);
    this.#filters = filters;
    if (changed) this.#reload();
    this.#show(id);
  }

  #apply(replace) {
    clearTimeout(this.#timers.filter);
    const values = Object.entries(this.controls).map(([name, control]) => [name, control.value]);
    this.#ctx.setParams({ id: this.#detail?.id, ...Object.fromEntries(values) }, { replace });
  }

  #clear() {
    this.#ctx.setParams({ id: this.#detail?.id });
    this.controls.text.focus();
  }

  #typed(event) {
    if (event.key === 'Enter' && event.target.matches('input')) this.#apply(true);
    if (event.key === 'Escape') this.list.el.focus();
  }

  #pause(paused) {
    if (paused !== this.#ctx.feed.paused) this.#ctx.feed.start(paused);
    this.pause.textContent = paused ? 'Resume' : 'Pause';
    this.pause.setAttribute('aria-pressed', paused);
  }

  #cells(r) {
    const others = r.event_count > 1 && ` +${number(r.event_count - 1)}`;
    const href = this.#ctx.href('requests', { ...this.#filters, id: r.id });
    return [h('a', { href, tabindex: -1, class: 'row-link' }, time(r.time)), statusBadge(r.status),
      [h('b', {}, r.method), ` ${r.route || cut(r.path, 120)}`],
      r.references.length ? [cut(r.references[0], 120), others] : cut(r.note, 120) || '–', eventsText(r),
      [r.code && h('b', {}, r.code), r.field && ` ${cut(r.field, 120)}`],
      r.platform || '–', r.subject || '–', duration(r.duration_ms)];
  }

  // run calls job after the jobs before it, unless one with the name waits already. Other filters cancel jobs.
  #run(name, job) {
    const { signal } = this.#load;
    const queued = this.#queued;
    if (queued.has(name)) return;
    queued.add(name);
    this.#jobs = this.#jobs.then(() => {
      queued.delete(name);
      return signal.aborted ? null : job();
    }).catch((error) => this.#fail(error));
  }

  #get(params) { return this.#ctx.api.get('api/requests', { ...this.#filters, ...params }, this.#load.signal); }

  #reload() {
    clearTimeout(this.#timers.retry);
    this.#load.abort();
    this.#load = new AbortController();
    this.#queued = new Set();
    this.#run('all', () => this.#loadAll());
  }

  async #loadAll() {
    const found = await this.#get({ limit: FIRST });
    this.#failed = false;
    this.#held = [];
    this.#newest = found.newest;
    this.#more = found.more;
    this.list.el.scrollTop = 0;
    this.#set(found.requests);
    if (Object.keys(this.#filters).length) this.#ctx.announce(`${plural(found.requests.length, 'request')} found`);
  }

  // loadNewer asks for the newest known request too: a server that restarted does not have it.
  async #loadNewer(newest) {
    if (this.#failed || (newest !== null && newest < this.#newest)) return this.#loadAll();
    if (newest === this.#newest) return;
    const known = this.#held[0] ?? this.list.items[0];
    const items = [];
    for (let found = { more: true }; found.more && items.length <= this.#ctx.session.max_requests;) {
      found = await this.#get({ after: known ? known.id - 1 : this.#newest, before: items.at(-1)?.id, limit: MORE });
      if (items.length === 0) this.#newest = found.newest;
      items.push(...found.requests);
    }
    if (known && items.pop()?.id !== known.id) return this.#loadAll();
    this.#add(items);
  }

  async #loadOlder() {
    if (!this.#more || !this.list.atEnd || this.list.items.length === 0) return;
    const found = await this.#get({ before: this.list.items.at(-1).id, limit: MORE });
    this.#more = found.more;
    this.#set([...this.list.items, ...found.requests]);
  }

  #fail(error) {
    if (error.name === 'AbortError' || error.status === 401) return;
    const gone = error.status === 0;
    this.#failed = true;
    if (gone || error.status >= 500) this.#timers.retry = setTimeout(() => this.#reload(), RETRY * 1000);
    if (gone && this.#ctx.feed.state === 'polling') this.#ctx.feed.start();
    if (gone && this.list.items.length) return; // the header shows it
    this.list.set([]);
    this.message.replaceChildren(h('div', { id: 'list-error', class: 'empty' }, notice('error', error.message)));
  }

  #set(items) {
    this.count.textContent = `${plural(items.length, 'request')}${this.#more ? ', more at the end of the list' : ''}`;
    this.fresh.hidden = this.#held.length === 0;
    this.fresh.textContent = `${number(this.#held.length)} new`;
    this.list.set(items);
    this.message.replaceChildren();
    if (items.length) return;
    const none = Object.keys(this.#filters).length
      ? empty('No request matches the filters', button('Clear the filters', () => this.#clear()))
      : empty('No requests yet', h('p', {}, 'Send a request to the endpoint. It appears here within a second.'));
    none.id = 'list-empty';
    this.message.append(none);
  }

  #add(items) {
    if (items.length === 0) return;
    this.#arrived += items.length;
    this.#timers.announce ??= setTimeout(() => {
      this.#ctx.announce(plural(this.#arrived, 'new request'));
      this.#arrived = 0;
      this.#timers.announce = undefined;
    }, ANNOUNCE * 1000);
    this.#held = [...items, ...this.#held];
    this.#release(this.list.items.length === 0);
    this.#set(this.list.items);
  }

  // release shows the rows that were held back.
  #release(always = false) {
    if (this.#held.length === 0 || (!always && (this.list.holds || this.fresh.matches(':hover')))) return;
    const items = [...this.#held, ...this.list.items].slice(0, this.#ctx.session.max_requests);
    this.#held = [];
    this.#set(items);
  }

  #top() {
    this.#release(true);
    this.list.el.scrollTop = 0;
    this.list.el.focus();
    this.list.reveal(null);
  }

  #show(id) {
    if (id === (this.#detail?.id ?? null)) return;
    this.panels.toggleAttribute('data-open', id !== null);
    if (id === null) {
      this.#detail.remove();
      this.#detail = null;
      this.list.el.focus();
      return;
    }
    this.list.reveal(Number(id));
    this.#detail ??= new Detail(this.panels, this.#ctx, () => this.#ctx.setParams(this.#filters));
    this.#detail.show(id);
  }

  key(event) {
    const inList = document.activeElement === document.body || this.list.el.contains(document.activeElement);
    const by = { j: 1, k: -1 }[event.key] ?? (inList && { ArrowDown: 1, ArrowUp: -1 }[event.key]);
    const go = (id, options) => id !== null && this.#ctx.setParams({ ...this.#filters, id }, options);
    if (by && this.#detail) go(this.list.move(by), { replace: true });
    else if (by) {
      this.list.el.focus();
      this.list.move(by);
    } else if (event.key === 'Home' && inList) this.#top();
    else if (event.key === 'Enter' && inList) go(this.list.cursor);
    else if (event.key === 'Escape' && this.#detail) this.#ctx.setParams(this.#filters);
    else if (event.key === '/') this.controls.text.focus();
    else if (event.key === 'p') this.#pause(!this.#ctx.feed.paused);
    else return;
    event.preventDefault();
  }
}
