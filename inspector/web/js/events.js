// The stored events: search, pages, sums of what is shown, and one event in full.
import { sum } from './decimal.js';
import { button, copyButton, dateTime, faint, h, notice, plural } from './dom.js';
import { facts, isIgnored, pager, showError, stamp, toLocal, tr, toUTC } from './widgets.js';

const TIMES = ['from', 'to'];
const FILTERS = ['reference', 'customer_reference', 'customer_id', ...TIMES];
const OBJECTS = ['value', 'period', 'pricing_plan_subscription_selector'];

const timestamp = (text) => (Number.isNaN(Date.parse(text?.toUpperCase())) ? faint(text ?? '–') :
  dateTime(text.toUpperCase()));

// measures lists what an event charges, as [unit, decimal].
const measures = ({ value: { amount, number, count } = {} }) =>
  [[amount?.currency, amount?.quantity], ['number', number], ['count', count]].filter(([, text]) => text);

function sums(events) {
  const groups = {};
  for (const [unit, text] of events.flatMap(measures)) (groups[unit] ??= []).push(text);
  return facts('data-sum', Object.keys(groups).sort().map((unit) => [unit, unit, sum(groups[unit])]));
}

// leaves lists the fields of a value as [path, path below heading, text].
function leaves(value, path, heading) {
  const entries = value !== null && typeof value === 'object' ? Object.entries(value) : [];
  if (entries.length) return entries.flatMap(([name, part]) => leaves(part, `${path}.${name}`, heading));
  const text = value === undefined || value === null ? faint('–') : value === '' ? faint('empty') :
    typeof value === 'object' ? faint(Array.isArray(value) ? 'empty list' : 'empty object') : String(value);
  return [[path, path.startsWith(`${heading}.`) ? path.slice(heading.length + 1) : path, text]];
}

function fields(event) {
  const section = (heading, names) => h('section', { class: 'card stack' }, h('h2', {}, heading),
    h('dl', { class: 'kv' }, facts('data-field', names.flatMap((name) => leaves(event[name], name, heading)))));
  const names = [...new Set([...OBJECTS, ...Object.keys(event)])];
  const isObject = (name) => OBJECTS.includes(name) || event[name] !== null && typeof event[name] === 'object';
  return h('div', { class: 'columns' }, section('Event', names.filter((name) => !isObject(name))),
    h('div', { class: 'stack' }, names.filter(isObject).map((name) => section(name, [name]))));
}

// exact keeps JSON.parse from rounding the numbers in unknown fields.
const exact = (_, value, token) => (typeof value === 'number' ? token?.source ?? value : value);

export function mount(container, ctx) {
  let params = {};
  let loaded = null; // the search that is shown, as JSON
  let abort = new AbortController();
  let newest = ctx.feed.newest;
  const $ = stamp(container, 'events');
  const [list, form, totals, status, fresh, table] = ['list', 'form', 'sums', 'status', 'new', 'table']
    .map((name) => $(`events-${name}`));
  const [nothing, curl, detail] = ['events-empty', 'events-curl', 'event-detail'].map($);
  const pages = pager($, 'events', () => load().then(() => list.scrollTo(0, 0)));
  curl.prepend(`curl ${location.origin}`);
  curl.after(copyButton('Copy command', () => curl.textContent));
  form.addEventListener('submit', search);
  $('events-clear').addEventListener('click', () => { form.reset(); form.requestSubmit(); });
  $('events-more').addEventListener('click', () => form.toggleAttribute('data-open'));
  fresh.addEventListener('click', () => pages.turn());
  function search(event) {
    event.preventDefault();
    const wanted = {};
    for (const [name, text] of new FormData(form)) {
      if (text.trim()) wanted[name] = TIMES.includes(name) ? toUTC(text) : text.trim();
    }
    loaded = null;
    ctx.setParams(wanted);
    if (loaded === null && !wanted.id) update(wanted);
  }
  async function load() {
    abort.abort();
    abort = new AbortController();
    status.textContent = 'Loading…';
    fresh.style.visibility = 'hidden';
    try {
      show(await ctx.api.get('api/events', { ...params, after: pages.after }, abort.signal));
      showError(form);
    } catch (error) {
      if (isIgnored(error)) return;
      loaded = null;
      show({ data: [], next: null }, showError(form, error) ? notice('warn', 'Correct the marked field.') :
        notice('error', error.message, ' ', button('Try again', load, { class: 'btn link' })));
    }
  }
  function show({ data, next: after }, failure) {
    table.tBodies[0].replaceChildren(...data.map(row));
    totals.replaceChildren(...sums(data));
    const part = pages.after || after ? '; the sums are of this page' : '';
    status.textContent = failure ? '' : `Page ${pages.cursors.length + 1}: ${plural(data.length, 'event')}${part}`;
    nothing.hidden = !(table.hidden = data.length === 0);
    const why = failure ? 'failure' : pages.after ? 'end' : FILTERS.some((name) => params[name]) ? 'filters' : 'start';
    for (const el of nothing.children) el.hidden = el.dataset.why !== why;
    nothing.firstElementChild.replaceChildren(failure ?? '');
    pages.show(after);
  }
  function row(event) {
    const link = h('a', { class: 'mono', href: ctx.href('events', { ...params, id: event.id }) }, event.id);
    const values = measures(event).map(([unit, text]) => h('div', {}, text, ' ', faint(unit)));
    const cells = [timestamp(event.timestamp), link, event.reference || faint('–'),
      event.customer_reference ?? event.customer_id ?? faint('–'), values, event.product_item_id];
    const follow = (click) => click.target.closest('a') || String(getSelection()) || link.click();
    return tr(table, { 'data-id': event.id, onclick: follow }, cells);
  }
  async function showEvent(id) {
    const back = h('a', { id: 'event-back', href: ctx.href('events', { ...params, id: '' }) }, '‹ All events');
    detail.replaceChildren(back, faint('Loading…'));
    try {
      const text = await (await ctx.api.open('GET', `api/events/${encodeURIComponent(id)}`)).text();
      if (detail.dataset.id !== id) return;
      const event = JSON.parse(text, exact);
      const requests = ctx.href('requests', { reference: event.reference });
      detail.replaceChildren(back, h('div', { class: 'spread' }, h('h2', { class: 'mono', tabindex: -1 }, id),
        h('div', { class: 'group' }, event.reference && h('a', { id: 'event-requests', class: 'btn', href: requests },
          'Requests with this reference'), ctx.session.relay && h('a', { id: 'event-relay', class: 'btn',
          href: ctx.href('relay', { id }) }, 'Delivery'), copyButton('Copy as JSON', () => text, { id: 'event-copy' }))),
      fields(event));
      detail.querySelector('h2').focus({ preventScroll: true });
    } catch (error) {
      if (detail.dataset.id !== id || isIgnored(error)) return;
      const text = error.status === 404 ? `No event has the id ${id}.` : error.message;
      detail.replaceChildren(back, notice('error', text));
    }
  }
  function update({ id = '', ...wanted }) {
    const before = detail.dataset.id;
    params = wanted;
    detail.dataset.id = id;
    list.hidden = !!id;
    detail.hidden = !id;
    if (id) return showEvent(id);
    const key = JSON.stringify(wanted);
    if (key === loaded) return table.querySelector(`[data-id="${CSS.escape(before)}"] a`)?.focus();
    loaded = key;
    pages.cursors = [];
    for (const { name } of [...form.elements].filter((control) => control.name)) {
      form.elements[name].value = TIMES.includes(name) ? toLocal(wanted[name]) : wanted[name] ?? '';
    }
    form.toggleAttribute('data-open', Object.keys(wanted).some((name) => !FILTERS.slice(0, 2).includes(name)));
    load();
  }
  const unsubscribe = ctx.feed.subscribe((id) => {
    const isNew = newest !== null && id !== newest || id === null;
    newest = id;
    if (!isNew || pages.after || loaded === null) return;
    if (!nothing.hidden) load();
    else if (id !== null) fresh.style.visibility = '';
  });
  return { update, unmount() { abort.abort(); unsubscribe(); } };
}
