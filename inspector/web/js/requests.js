// The requests that the endpoint received, newest first.

import { empty, h, duration, field, notice, number, plural, select, statusBadge, time } from './dom.js';
import { List } from './list.js';
import { detail } from './request.js';
import { cut } from './code.js';

export const title = 'Requests';

const COLUMNS = [['time', 'Time'], ['status', 'Status'], ['route', 'Request'], ['references', 'Reference'],
  ['events', 'Events'], ['code', 'Code and field'], ['platform', 'Platform'], ['subject', 'Subject'],
  ['duration', 'Duration']];
const FILTERS = {
  status: ['Status', [['', 'All'], ['2xx', '2xx accepted'], ['4xx', '4xx rejected'], ['409', '409 conflict'],
    ['5xx', '5xx failed'], ['none', 'No response']]],
  route: ['Route', [['', 'All'], ...['charge-data', 'charge-datas', 'charge-data/{id}', 'charge-data list']
    .map((r) => [r, r]), ['none', 'No route']]],
  code: ['Code'], reference: ['Reference'], customer: ['Customer'], text: ['Text'],
};
const PAGE = 200;

const eventsText = (r) => (r.events === 0 ? (r.event_count ? `0 of ${number(r.event_count)}` : '–')
  : number(r.events) + (r.replayed ? ` (${plural(r.replayed, 'replay')})` : ''));

export function mount(container, ctx) {
  return new Requests(container, ctx);
}

class Requests {
  #ctx; #filters = null; #id = null; #held = []; #newest = 0; #more = false; #load = new AbortController();
  #busy = null; #again = false; #failed = false; #timers = {}; #arrived = 0; #panel = null;

  constructor(container, ctx) {
    this.#ctx = ctx;
    this.list = new List({
      label: 'Requests, newest first', columns: COLUMNS, make: (r) => this.#cells(r),
      onScroll: (below) => { if (below <= 0) this.#loadOlder(); }, onLeave: () => this.#release(),
    });
    this.list.el.addEventListener('scroll', () => { if (this.list.el.scrollTop === 0) this.#release(); });
    this.controls = Object.fromEntries(Object.entries(FILTERS).map(([name, [, options]]) => {
      const id = `filter-${name}`;
      return [name, options ? select({ id, onchange: () => this.#apply(false) }, options)
        : h('input', { id, type: 'search', autocomplete: 'off', spellcheck: 'false', oninput: () => {
          clearTimeout(this.#timers.filter);
          this.#timers.filter = setTimeout(() => this.#apply(true), 250);
        } })];
    }));
    this.controls.text.setAttribute('aria-keyshortcuts', '/');
    this.clear = h('button', { id: 'clear-filters', class: 'btn ghost', type: 'button', onclick: () => this.#clear() },
      'Clear');
    this.pause = h('button', { id: 'pause', class: 'btn', type: 'button', 'aria-keyshortcuts': 'p',
      onclick: () => this.#pause(!ctx.feed.paused) }, 'Pause');
    this.toggle = h('button', { id: 'toggle-filters', class: 'btn', type: 'button', 'aria-expanded': 'false',
      'aria-controls': 'filters', onclick: () => {
        const open = this.form.toggleAttribute('data-open');
        this.toggle.setAttribute('aria-expanded', open);
      } }, 'Filters');
    this.form = h('form', { id: 'filters', class: 'toolbar filters', role: 'search', 'aria-label': 'Filter requests',
      onsubmit: (e) => { e.preventDefault(); this.#apply(true); },
      onkeydown: (e) => { if (e.key === 'Escape') this.list.el.focus(); } },
    Object.entries(FILTERS).map(([name, [label]]) => {
      const el = field(label, this.controls[name]);
      el.dataset.filter = name;
      return el;
    }), h('div', { class: 'group' }, this.toggle, this.clear, this.pause));
    this.fresh = h('button', { id: 'new-requests', class: 'btn primary', type: 'button', hidden: true,
      onclick: () => this.#top() });
    this.message = h('div', { class: 'list-message' });
    this.count = h('p', { id: 'count', class: 'visually-hidden' });
    this.place = h('div', { class: 'list-box' }, this.count, this.list.el, this.fresh, this.message);
    this.panels = h('div', { class: 'panels' }, this.place);
    container.append(this.form, this.panels);
    ctx.shortcuts([['j ↓', 'Next request'], ['k ↑', 'Previous request'], ['Enter', 'Open the request'],
      ['Esc', 'Close the request'], ['Home', 'Newest request'], ['/', 'Filter by text'], ['p', 'Pause or resume']]);
    this.#pause(ctx.feed.paused);
    this.unsubscribe = ctx.feed.subscribe((newest, first) => this.#news(newest, first));
  }

  unmount() {
    this.unsubscribe();
    this.list.observer.disconnect();
    this.#load.abort();
    this.#panel?.unmount();
    Object.values(this.#timers).forEach(clearTimeout);
  }

  update({ id = null, ...params }) {
    const filters = Object.fromEntries(Object.keys(FILTERS).filter((f) => params[f]).map((f) => [f, params[f]]));
    const used = Object.keys(filters).length;
    for (const [name, control] of Object.entries(this.controls)) {
      if (control.value !== (filters[name] ?? '')) control.value = filters[name] ?? '';
    }
    this.clear.disabled = used === 0;
    this.toggle.textContent = used ? `Filters (${used})` : 'Filters';
    const changed = JSON.stringify(filters) !== JSON.stringify(this.#filters);
    this.#filters = filters;
    if (changed) this.#reload();
    if (id !== this.#id) this.#show(id);
  }

  #apply(replace) {
    clearTimeout(this.#timers.filter);
    const values = Object.entries(this.controls).map(([name, control]) => [name, control.value]);
    this.#ctx.setParams({ id: this.#id, ...Object.fromEntries(values) }, { replace });
  }

  #clear() {
    this.#ctx.setParams({ id: this.#id });
    this.controls.text.focus();
  }

  #pause(paused) {
    if (paused !== this.#ctx.feed.paused) this.#ctx.feed.pause(paused);
    this.pause.textContent = paused ? 'Resume' : 'Pause';
    this.pause.setAttribute('aria-pressed', paused);
  }

  #cells(r) {
    const more = r.event_count > 1 ? ` +${number(r.event_count - 1)}` : '';
    return [
      h('a', { href: this.#ctx.href('requests', { ...this.#filters, id: r.id }), tabindex: -1, class: 'row-link' }, time(r.time)),
      statusBadge(r.status), h('span', {}, h('b', {}, r.method), ` ${r.route || cut(r.path, 120)}`),
      r.references.length ? cut(r.references[0], 120) + more : (r.note ? cut(r.note, 120) : '–'), eventsText(r),
      h('span', {}, r.code && h('b', {}, r.code), r.field && ` ${cut(r.field, 120)}`), r.platform || '–', r.subject || '–',
      duration(r.duration_ms),
    ];
  }

  async #reload() {
    this.#load.abort();
    const load = this.#load = new AbortController();
    clearTimeout(this.#timers.retry);
    this.#busy = load;
    this.list.el.setAttribute('aria-busy', true);
    try {
      const found = await this.#get({ limit: PAGE });
      this.#held = [];
      this.#newest = found.newest;
      this.#more = found.more;
      this.#failed = false;
      this.list.el.scrollTop = 0;
      this.#set(found.requests);
      if (Object.keys(this.#filters).length) this.#ctx.announce(`${plural(found.requests.length, 'request')} found`);
    } catch (error) {
      this.#fail(error);
    } finally {
      if (this.#load === load) this.#done();
    }
  }

  #get(params) { return this.#ctx.api.get('api/requests', { ...this.#filters, ...params }, this.#load.signal); }

  #done() {
    this.#busy = null;
    this.list.el.removeAttribute('aria-busy');
    if (!this.#again || this.#failed) return;
    this.#again = false;
    this.#loadNewer();
  }

  #fail(error) {
    if (error.name === 'AbortError' || error.status === 401) return;
    this.#failed = true;
    if (error.status !== 400 && error.status !== 403) {
      this.#timers.retry = setTimeout(() => this.#reload(), 1000 * (error.retryAfter || 5));
    }
    if (this.list.items.length && error.status === 0) return; // the connection's state shows it
    this.list.set([]);
    this.#message(h('div', { id: 'list-error', class: 'empty' }, notice('error', error.message)));
  }

  #message(el) { this.message.replaceChildren(...(el ? [el] : [])); }

  #set(items) {
    this.list.set(items);
    this.count.textContent = `${plural(items.length, 'request')}${this.#more ? ', more when you scroll' : ''}`;
    this.fresh.hidden = this.#held.length === 0;
    this.fresh.textContent = `${number(this.#held.length)} new`;
    if (items.length) return this.#message(null);
    this.#message(Object.keys(this.#filters).length
      ? h('div', { id: 'list-empty', class: 'empty' }, h('h2', {}, 'No request matches the filters'),
        h('button', { class: 'btn', type: 'button', onclick: () => this.#clear() }, 'Clear the filters'))
      : h('div', { id: 'list-empty', class: 'empty' }, h('h2', {}, 'No requests yet'),
        h('p', {}, 'Send a request to the endpoint. It appears here within a second.')));
  }

  async #news(newest, first) {
    if (this.#busy) {
      this.#again = true;
      return;
    }
    if (this.#failed || (newest !== null && newest < this.#newest)) return this.#reload();
    const top = this.#held[0] ?? this.list.items[0];
    if (first && top) { // a server that restarted has another log
      try {
        const same = await this.#get({ after: top.id - 1, before: top.id + 1, limit: 1 });
        if (same.requests.length === 0) return this.#reload();
      } catch (error) {
        return this.#fail(error);
      }
    }
    if (newest === null || newest > this.#newest) this.#loadNewer();
  }

  async #loadNewer() {
    const load = this.#busy = this.#load;
    const after = this.#newest;
    try {
      let found = await this.#get({ after, limit: 1000 });
      const { newest } = found;
      const items = found.requests;
      while (found.more && found.requests.length && items.length < this.#ctx.session.max_requests) {
        found = await this.#get({ after, before: items.at(-1).id, limit: 1000 });
        items.push(...found.requests);
      }
      this.#newest = newest;
      this.#add(items);
    } catch (error) {
      this.#fail(error);
    } finally {
      if (this.#load === load) this.#done();
    }
  }

  #add(items) {
    if (items.length === 0) return;
    this.#arrived += items.length;
    this.#timers.announce ??= setTimeout(() => {
      this.#ctx.announce(plural(this.#arrived, 'new request'));
      this.#arrived = 0;
      this.#timers.announce = undefined;
    }, 5000);
    this.#held = [...items, ...this.#held];
    if (this.list.holds && this.list.items.length) this.#set(this.list.items);
    else this.#release(true);
  }

  // release shows the rows that were held back.
  #release(now = false) {
    if (this.#held.length === 0 || (!now && this.list.holds)) return;
    const items = [...this.#held, ...this.list.items];
    this.#held = [];
    if (items.length > this.#ctx.session.max_requests) items.length = this.#ctx.session.max_requests;
    this.#set(items);
  }

  #top() {
    this.#release(true);
    this.list.el.scrollTop = 0;
    if (this.list.items.length) this.list.reveal(this.list.items[0].id);
    this.list.el.focus();
  }

  async #loadOlder() {
    if (this.#busy || !this.#more || this.list.items.length === 0) return;
    const load = this.#busy = this.#load;
    try {
      const found = await this.#get({ before: this.list.items.at(-1).id, limit: 1000 });
      this.#more = found.more;
      this.#set([...this.list.items, ...found.requests]);
    } catch (error) {
      if (error.name !== 'AbortError' && error.status !== 401) this.#timers.older = setTimeout(() => this.#loadOlder(), 5000);
    } finally {
      if (this.#load === load) this.#done();
    }
  }

  #show(id) {
    const closed = this.#id;
    this.#id = id;
    this.#panel?.unmount();
    this.#panel = null;
    this.panels.toggleAttribute('data-open', id !== null);
    if (id === null) {
      this.list.el.focus();
      this.list.reveal(Number(closed));
      return;
    }
    this.list.point(Number(id));
    this.#panel = detail(this.panels, this.#ctx, id, () => this.#ctx.setParams(this.#filters));
  }

  key(event) {
    const inList = document.activeElement === this.list.el || document.activeElement === document.body;
    const by = { j: 1, k: -1 }[event.key] ?? (inList && { ArrowDown: 1, ArrowUp: -1, PageDown: this.list.page,
      PageUp: -this.list.page, End: Infinity }[event.key]);
    if (by) {
      const item = this.list.move(by === Infinity ? this.list.items.length : by);
      if (this.#id !== null && item) this.#ctx.setParams({ ...this.#filters, id: item.id }, { replace: true });
      else this.list.el.focus();
    } else if (event.key === 'Home' && inList) this.#top();
    else if (event.key === 'Enter' && inList && this.list.cursor !== null) {
      this.#ctx.setParams({ ...this.#filters, id: this.list.cursor });
    } else if (event.key === 'Escape' && this.#id !== null) this.#ctx.setParams(this.#filters);
    else if (event.key === '/') this.controls.text.focus();
    else if (event.key === 'p') this.#pause(!this.#ctx.feed.paused);
    else return;
    event.preventDefault();
  }
}
