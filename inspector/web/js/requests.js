// The requests that the endpoint received, newest first.
import { button, duration, empty, h, notice, number, plural, statusBadge, time } from './dom.js';
import { cut } from './code.js';
import { List } from './list.js';
import { Detail } from './request.js';

export const mount = (container, ctx) => new Requests(container, ctx);

const FIRST = 200; // requests at first
const MORE = 1000; // requests per call after that
const RETRY = 5; // seconds
const ANNOUNCE = 5; // seconds between announcements

function eventsText(r) {
  if (!r.events && !r.event_count) return '–';
  const sent = number(r.event_count); // without a response the outcome is unknown
  if (!r.events) return r.status >= 400 && r.status < 500 ? `0 of ${sent}` : `${sent} sent`;
  return r.replayed ? `${number(r.events)} (${plural(r.replayed, 'replay')})` : number(r.events);
}

class Requests {
  #ctx; #filters = null; #held = []; #newest = 0; #more = false; #failed = false; #arrived = 0; #announced = 0;
  #timer; #load = new AbortController(); #jobs = Promise.resolve(); #queued = new Set(); #detail = null;
  constructor(container, ctx) {
    const el = (id) => container.querySelector(`#${id}`);
    container.append(document.getElementById('requests-template').content.cloneNode(true));
    Object.assign(this, { form: el('filters'), text: el('filter-text'), toggle: el('toggle-filters'), pause: el('pause'),
      clear: el('clear-filters'), panels: el('panels'), fresh: el('new-requests'), message: el('list-message') });
    this.#ctx = ctx;
    this.controls = [...this.form.querySelectorAll('[name]')];
    this.list = new List(el('list'), (r) => this.#cells(r), () => this.#run('older', () => this.#loadOlder()));
    const typed = ({ target }) => target.matches('input');
    this.form.addEventListener('change', (event) => this.#apply(typed(event)));
    this.form.addEventListener('input', (event) => typed(event) && this.#soon(250, () => this.#apply(true)));
    this.form.addEventListener('keydown', ({ key }) => key === 'Escape' && this.list.el.focus());
    this.toggle.onclick = () => { this.toggle.ariaExpanded = this.form.toggleAttribute('data-open'); };
    this.clear.onclick = () => {
      ctx.setParams({ id: this.#detail?.id });
      this.text.focus();
    };
    this.pause.onclick = () => this.#pause(!ctx.feed.paused);
    this.fresh.onclick = () => this.#top();
    const left = (event) => event.relatedTarget !== this.fresh && this.#release();
    for (const place of [this.list.rows, this.fresh]) place.addEventListener('pointerleave', left);
    this.list.el.addEventListener('scroll', left);
    this.#pause(ctx.feed.paused);
    this.unsubscribe = ctx.feed.subscribe(() => this.#run('newer', () => this.#loadNewer()));
  }
  unmount() {
    this.unsubscribe();
    this.list.observer.disconnect();
    this.#load.abort();
    this.#detail?.remove();
    clearTimeout(this.#timer);
  }
  update({ id = null, ...params }) {
    const before = JSON.stringify(this.#filters);
    for (const control of this.controls) {
      const value = params[control.name] ?? '';
      if (control.value !== value) control.value = value;
      if (control.value !== value) control.add?.(new Option(value, value, true, true)); // another status
    }
    this.#filters = Object.fromEntries(this.controls.map(({ name }) => [name, params[name]]).filter((f) => f[1]));
    const used = Object.keys(this.#filters).length;
    this.clear.disabled = used === 0;
    this.toggle.textContent = used ? `Filters (${used})` : 'Filters';
    if (JSON.stringify(this.#filters) !== before) this.#reload();
    this.#show(id);
  }
  #soon(ms, f) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(f, ms);
  }
  #apply(replace) {
    const values = Object.fromEntries(this.controls.map(({ name, value }) => [name, value]));
    this.#ctx.setParams({ id: this.#detail?.id, ...values }, { replace });
  }
  #pause(paused) {
    if (paused !== this.#ctx.feed.paused) this.#ctx.feed.start(paused);
    this.pause.textContent = paused ? 'Resume' : 'Pause';
    this.pause.ariaPressed = paused;
  }
  #href(id) { return this.#ctx.href('requests', { ...this.#filters, id }); }
  #cells(r) {
    const others = r.event_count > 1 && ` +${number(r.event_count - 1)}`;
    return [h('a', { href: this.#href(r.id), tabindex: -1, class: 'row-link' }, time(r.time)), statusBadge(r.status),
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
    const start = () => queued.delete(name) && !signal.aborted && job();
    this.#jobs = this.#jobs.then(start).catch((error) => this.#fail(error));
  }
  async #get(params) {
    const get = (rest) => this.#ctx.api.get('api/requests', { ...this.#filters, ...params, ...rest }, this.#load.signal);
    const found = await get();
    while (found.more && !found.requests.length) { // a long search ends early
      Object.assign(found, await get({ before: found.oldest }), { newest: found.newest });
    }
    return found;
  }
  #reload() {
    this.#load.abort();
    this.#load = new AbortController();
    this.#queued = new Set();
    for (const row of this.list.rows.children) row.querySelector('a').href = this.#href(row.dataset.id);
    this.#run('all', () => this.#loadAll());
  }
  async #loadAll(list) {
    const found = list ?? await this.#get({ limit: FIRST });
    this.#failed = false;
    this.#held = [];
    this.#newest = found.newest;
    this.#more = found.more;
    this.list.el.scrollTop = 0;
    this.#set(found.requests);
    if (Object.keys(this.#filters).length) this.#ctx.announce(
      `${plural(found.requests.length, 'request')} found${found.more ? ', and more' : ''}`);
  }
  // loadNewer asks for the newest known request too: a server that restarted does not have it.
  async #loadNewer() {
    const { newest } = this.#ctx.feed;
    if (this.#failed || (newest !== null && newest < this.#newest)) return this.#loadAll();
    if (newest === this.#newest) return;
    const known = this.#held[0] ?? this.list.items[0];
    const found = await this.#get({ after: known ? known.id - 1 : this.#newest, limit: newest === null ? FIRST : MORE });
    if (newest > found.newest) setTimeout(() => this.#run('newer', () => this.#loadNewer(null)), 1000);
    if (found.more || (known && found.requests.pop()?.id !== known.id)) return this.#loadAll(found.more ? found : null);
    this.#newest = found.newest;
    this.#add(found.requests);
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
    if (gone || error.status >= 500) this.#soon(RETRY * 1000, () => this.#reload());
    if (gone && this.#ctx.feed.state === 'polling') this.#ctx.feed.start();
    if (gone && this.list.items.length) return; // the header shows it
    this.list.set([]);
    this.message.replaceChildren(h('div', { id: 'list-error', class: 'empty' }, notice('error', error.message)));
  }
  #set(items) {
    this.fresh.hidden = this.#held.length === 0;
    this.fresh.textContent = `${number(this.#held.length)} new`;
    this.list.set(items);
    const none = Object.keys(this.#filters).length
      ? empty('No request matches the filters', button('Clear the filters', () => this.clear.click()))
      : empty('No requests yet', h('p', {}, 'Send a request to the endpoint. It appears here within a second.'));
    none.id = 'list-empty';
    this.message.replaceChildren(...(items.length ? [] : [none]));
  }
  #add(items) {
    this.#arrived += items.length;
    this.#held = [...items, ...this.#held].slice(0, this.#ctx.session.max_requests);
    this.#release(this.list.items.length === 0);
    this.#set(this.list.items);
    if (this.#arrived === 0 || Date.now() < this.#announced + ANNOUNCE * 1000) return;
    this.#ctx.announce(plural(this.#arrived, 'new request'));
    this.#announced = Date.now();
    this.#arrived = 0;
  }
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
    if (id !== null) {
      this.list.reveal(Number(id));
      this.#detail ??= new Detail(this.panels, this.#ctx, () => this.#ctx.setParams(this.#filters));
      this.#detail.show(id);
    } else {
      this.#detail.remove();
      this.#detail = null;
      this.list.el.focus();
    }
  }
  key(event) {
    const inList = document.activeElement === document.body || this.list.el.contains(document.activeElement);
    const by = { j: 1, k: -1 }[event.key] ?? (inList && { ArrowDown: 1, ArrowUp: -1 }[event.key]);
    const open = (id, options) => id !== null && this.#ctx.setParams({ ...this.#filters, id }, options);
    if (by) {
      const id = this.list.move(by);
      if (this.#detail) open(id, { replace: true });
      else this.list.el.focus();
    } else if (event.key === 'Home' && inList) this.#top();
    else if (event.key === 'Enter' && inList) open(this.list.cursor);
    else if (event.key === 'Escape' && this.#detail) this.#ctx.setParams(this.#filters);
    else if (event.key === '/') this.text.focus();
    else if (event.key === 'p') this.#pause(!this.#ctx.feed.paused);
    else return;
    event.preventDefault();
  }
}
