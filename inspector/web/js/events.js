// The stored events: search, pages, sums of what is shown, and one event in full.

import { sum } from './decimal.js';
import { copyButton, empty, h, notice, plural } from './dom.js';
import { button, facts, input, showError, values } from './widgets.js';

export const title = 'Events';

const FILTERS = ['reference', 'customer_reference', 'customer_id', 'from', 'to'];
const OBJECTS = ['value', 'period', 'pricing_plan_subscription_selector'];
const COLUMNS = ['Time', 'Id', 'Reference', 'Customer', 'Value', 'Product item'];
const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;
const clock = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' });
const two = (n) => String(n).padStart(2, '0');

// withOffset turns a local time such as 2026-11-30T14:05 into RFC 3339 with the zone's offset at that time.
function withOffset(local) {
  const minutes = -new Date(local).getTimezoneOffset();
  const size = Math.abs(minutes);
  const seconds = local.length === 16 ? ':00' : '';
  return `${local}${seconds}${minutes < 0 ? '-' : '+'}${two(Math.floor(size / 60))}:${two(size % 60)}`;
}

function toLocal(text) {
  const at = new Date(text);
  if (Number.isNaN(at.valueOf())) return '';
  const date = `${String(at.getFullYear()).padStart(4, '0')}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${date}T${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

function timestamp(text) {
  const at = new Date(text.toUpperCase());
  if (Number.isNaN(at.valueOf())) return text;
  return h('time', { datetime: text, title: text }, clock.format(at));
}

function sums(events) {
  const groups = new Map();
  const add = (key, text) => text && groups.set(key, [...groups.get(key) ?? [], text]);
  for (const { value } of events) {
    add('number', value?.number);
    add('count', value?.count);
    add(value?.amount?.currency, value?.amount?.quantity);
  }
  return [...groups].sort().map(([key, texts]) => h('div', { title: `Sum of ${plural(texts.length, 'event')}` },
    h('dt', {}, key), h('dd', { 'data-sum': key }, sum(texts))));
}

const none = () => h('span', { class: 'muted' }, '–');

function measures({ value }) {
  const lines = [[value?.amount?.quantity, value?.amount?.currency], [value?.number, 'number'], [value?.count, 'count']]
    .filter(([text]) => text);
  return lines.length ? lines.map(([text, unit]) => h('div', {}, text, ' ', h('span', { class: 'muted' }, unit))) : none();
}

// leaves lists the fields below an object or list as [path, text].
function leaves(value, path) {
  if (value === null || value === undefined) return [[path, none()]];
  if (typeof value !== 'object') return [[path, value === '' ? h('span', { class: 'muted' }, 'empty text') : String(value)]];
  const entries = Object.entries(value);
  if (entries.length === 0) return [[path, h('span', { class: 'muted' }, Array.isArray(value) ? 'empty list' : 'empty object')]];
  return entries.flatMap(([name, part]) => leaves(part, path ? `${path}.${name}` : name));
}

function section(heading, parts) {
  return h('section', { class: 'card stack' }, h('h2', {}, heading), facts('data-field', parts
    .map(([path, value]) => [path, path.startsWith(`${heading}.`) ? path.slice(heading.length + 1) : path, value])));
}

// inFull reads an event's JSON without rounding the numbers in it.
const inFull = (text) => JSON.parse(text, (_, value, token) => (typeof value === 'number' ? token?.source ?? value : value));

export function mount(container, ctx) {
  let params = {};
  let loaded = null; // the search that is shown, as JSON
  let cursors = []; // of the pages after the first up to the one shown
  let abort = new AbortController();
  let newest;

  const form = h('form', { id: 'events-form', class: 'card form', role: 'search', 'aria-label': 'Events', onsubmit: search },
    input('events', 'reference', 'Reference'),
    input('events', 'customer_reference', 'Customer reference'),
    input('events', 'customer_id', 'Customer id'),
    input('events', 'from', `From (${ZONE})`, { type: 'datetime-local', step: 1 }),
    input('events', 'to', `Before (${ZONE})`, { type: 'datetime-local', step: 1 }),
    input('events', 'order', 'Order', { options: [['', 'Newest first'], ['asc', 'Oldest first']] }),
    input('events', 'limit', 'Per page', { options: [['', '50'], ['200', '200'], ['1000', '1,000']] }),
    h('div', { class: 'group actions' }, button('Search', null, { id: 'events-search', class: 'primary' }),
      button('Clear', clear, { id: 'events-clear' })));
  const open = h('form', { id: 'events-open', class: 'open', onsubmit: openById },
    input('open', 'id', 'Event id', { placeholder: 'chda_…', class: 'mono', required: true }), button('Open'));
  const totals = h('dl', { id: 'events-sums', class: 'sums', 'aria-label': 'Sums of the events shown' });
  const status = h('p', { id: 'events-status', class: 'muted', role: 'status' }, 'Loading…');
  const fresh = button('New requests: reload', reload, { id: 'events-new', class: 'link' });
  const rows = h('tbody');
  const table = h('table', { id: 'events-table', class: 'table events', 'aria-label': 'Stored events' },
    h('thead', {}, h('tr', {}, COLUMNS.map((name) => h('th', { scope: 'col', class: name === 'Value' ? 'num' : null }, name)))),
    rows);
  const nothing = h('div', { id: 'events-empty', hidden: true });
  const first = button('First page', () => turn([]), { id: 'events-first' });
  const previous = button('Previous', () => turn(cursors.slice(0, -1)), { id: 'events-previous' });
  const next = button('Next', () => turn([...cursors, next.dataset.after]), { id: 'events-next' });
  const list = h('div', { class: 'stack' }, h('div', { class: 'searches' }, form, open),
    h('div', { class: 'spread' }, totals, h('div', { class: 'group' }, fresh, status)),
    h('div', { class: 'card sheet' }, table, nothing), h('div', { class: 'group' }, first, previous, next));
  const detail = h('article', { id: 'event-detail', class: 'stack', hidden: true });
  container.append(list, detail);
  fresh.style.visibility = 'hidden';

  function search(event) {
    event.preventDefault();
    const wanted = values(form);
    for (const name of ['from', 'to']) if (wanted[name]) wanted[name] = withOffset(wanted[name]);
    loaded = null;
    ctx.setParams(wanted);
    if (loaded === null) update(params);
  }

  function clear() {
    form.reset();
    form.requestSubmit();
  }

  function openById(event) {
    event.preventDefault();
    ctx.setParams({ ...params, ...values(open) });
  }

  function turn(to) {
    cursors = to;
    load().then(() => status.scrollIntoView({ block: 'nearest' }));
  }

  function reload() {
    turn([]);
  }

  async function load() {
    abort.abort();
    abort = new AbortController();
    const { signal } = abort;
    status.textContent = 'Loading…';
    fresh.style.visibility = 'hidden';
    try {
      const page = await ctx.api.get('api/events', { ...params, after: cursors.at(-1) }, signal);
      showError(form);
      show(page);
    } catch (error) {
      if (error.name === 'AbortError' || error.status === 401) return;
      show({ data: [], next: null }, showError(form, error) ? notice('warn', 'Correct the search and try again.') :
        notice('error', error.message, ' ', button('Retry', load, { class: 'link' })));
      loaded = null;
    }
  }

  function show({ data, next: after }, failure) {
    rows.replaceChildren(...data.map(row));
    totals.replaceChildren(...sums(data));
    const what = params.order === 'asc' ? 'oldest first' : 'newest first';
    status.textContent = failure ? 'No result' : `Page ${cursors.length + 1}: ${plural(data.length, 'event')}, ${what}`;
    table.hidden = data.length === 0;
    nothing.hidden = data.length > 0;
    if (data.length === 0) nothing.replaceChildren(failure ?? help());
    first.disabled = previous.disabled = cursors.length === 0;
    next.disabled = !after;
    next.dataset.after = after ?? '';
  }

  function row(event) {
    const link = h('a', { class: 'mono', href: ctx.href('events', { ...params, id: event.id }) }, event.id);
    const follow = (click) => click.target.closest('a') || String(getSelection()) || link.click();
    return h('tr', { 'data-id': event.id, onclick: follow }, h('td', {}, event.timestamp ? timestamp(event.timestamp) : none()),
      h('td', {}, link), h('td', { class: 'strong' }, event.reference || none()),
      h('td', {}, event.customer_reference ?? event.customer_id ?? none()), h('td', { class: 'num' }, measures(event)),
      h('td', { class: 'muted' }, event.product_item_id));
  }

  function help() {
    if (cursors.length > 0) return empty('No further events', h('p', {}, 'The page before this one was the last.'));
    if (FILTERS.some((name) => params[name])) {
      return empty('No event matches', h('p', {}, 'Texts are compared as a whole, upper and lower case as they are.'));
    }
    const ids = ['product_item_id', 'pricing_id', 'pricing_item_id', 'pricing_item_config_id'].map((name) => [name, 'test']);
    const body = { ...Object.fromEntries(ids), reference: 'order-1', value: { amount: { quantity: '9.90', currency: 'EUR' } } };
    const curl = `curl -X POST ${location.origin}/v1/ingest/charge-data \\\n  -H 'X-API-KEY: <your key>' \\\n` +
      `  -H 'Content-Type: application/json' \\\n  -d '${JSON.stringify(body)}'`;
    return empty('No events yet', h('p', {}, 'Send one to the path at which your service serves the endpoint. It appears here at once:'),
      h('pre', { class: 'code', tabindex: 0 }, curl), copyButton('Copy command', () => curl));
  }

  async function showEvent(id) {
    const back = h('a', { id: 'event-back', href: ctx.href('events', { ...params, id: '' }) }, '‹ All events');
    detail.dataset.id = id;
    detail.replaceChildren(back, h('p', { class: 'muted' }, 'Loading…'));
    try {
      const text = await (await ctx.api.open('GET', `api/events/${encodeURIComponent(id)}`)).text();
      if (detail.dataset.id !== id) return;
      const event = inFull(text);
      const scalar = Object.entries(event).filter(([name, value]) => !OBJECTS.includes(name) && typeof value !== 'object' || value === null);
      const objects = [...new Set([...OBJECTS, ...Object.keys(event)])].filter((name) => !scalar.some(([other]) => other === name));
      const requests = ctx.href('requests', { reference: event.reference });
      detail.replaceChildren(back, h('div', { class: 'spread' }, h('h1', { class: 'mono', tabindex: -1 }, event.id), h('div', { class: 'group' },
        event.reference && h('a', { id: 'event-requests', class: 'btn', href: requests }, 'Requests with this reference'),
        copyButton('Copy as JSON', () => text, { id: 'event-copy' }))),
      h('div', { class: 'columns' }, section('Event', scalar.flatMap(([name, value]) => leaves(value, name))),
        h('div', { class: 'stack' }, objects.map((name) => section(name, leaves(event[name], name))))));
      detail.querySelector('h1').focus({ preventScroll: true });
    } catch (error) {
      if (detail.dataset.id !== id || error.status === 401) return;
      detail.replaceChildren(back, error.status === 404 ? empty('No such event', h('p', {}, id)) : notice('error', error.message));
    }
  }

  function update({ id, ...wanted }) {
    params = wanted;
    list.hidden = !!id;
    detail.hidden = !id;
    if (id) return showEvent(id);
    const key = JSON.stringify(wanted);
    if (key === loaded) return;
    loaded = key;
    cursors = [];
    for (const { name } of form.elements) {
      if (name) form.elements[name].value = ['from', 'to'].includes(name) ? toLocal(wanted[name]) : wanted[name] ?? '';
    }
    load();
  }

  const unsubscribe = ctx.feed.subscribe((id) => {
    if (id === newest && id !== null) return;
    newest = id;
    if (list.hidden || cursors.length > 0 || loaded === null) return;
    if (!nothing.hidden) load();
    else fresh.style.visibility = '';
  });
  return {
    update,
    unmount() {
      abort.abort();
      unsubscribe();
    },
  };
}
