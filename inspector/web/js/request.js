// One request in full: the panel next to the list, or the whole page if that is narrow.

import { bytes, copyButton, dateTime, duration, h, kv, notice, number, plural, statusBadge } from './dom.js';
import { cut, lines, long } from './code.js';
import { curl } from './curl.js';

const SHOWN_EVENTS = 20;

// detail adds the panel to parent, and returns {unmount()}.
export function detail(parent, ctx, id, close) {
  const abort = new AbortController();
  const heading = h('h1', { id: 'detail-title', tabindex: -1 }, 'Request');
  const actions = h('div', { class: 'group' });
  const content = h('div', { class: 'detail-content stack' });
  const panel = h('section', { id: 'detail', class: 'detail', 'data-id': id, 'aria-labelledby': 'detail-title' },
    h('div', { class: 'detail-head spread' }, heading, h('div', { class: 'group' }, actions,
      h('button', { id: 'close-detail', class: 'btn', type: 'button', 'aria-keyshortcuts': 'Escape', onclick: close },
        'Close'))), content);
  parent.append(panel);
  heading.focus({ preventScroll: true });
  load();

  async function load() {
    try {
      const r = await ctx.api.get(`api/requests/${encodeURIComponent(id)}`, {}, abort.signal);
      heading.replaceChildren(statusBadge(r.status), ` ${r.method} ${r.route || cut(r.path, 200)}`);
      actions.append(copyButton('Copy as curl', () => curl(r), { id: 'copy-curl' }),
        copyButton('Copy as JSON', () => JSON.stringify(r, null, 2), { id: 'copy-json' }));
      content.replaceChildren(...sections(r, ctx));
    } catch (error) {
      if (error.name === 'AbortError' || error.status === 401) return;
      content.replaceChildren(notice(error.status === 404 ? 'warn' : 'error', error.status === 404
        ? 'This request is not in the log: it was dropped, the server was restarted, or it belongs to another platform.'
        : error.message), h('button', { class: 'btn', type: 'button', onclick: load }, 'Try again'));
    }
  }
  return { unmount() { abort.abort(); panel.remove(); } };
}

function sections(r, ctx) {
  const body = payload('detail-body', 'Request body', r.body, violationNotes(r.violations));
  return [
    summary(r, ctx),
    r.violations.length > 0 && violationList(r, body),
    r.conflict && conflict(r.conflict, ctx),
    body.el,
    payload('detail-response', 'Response', r.response, new Map()).el,
    headers('request-headers', 'Request headers', r.header),
    headers('response-headers', 'Response headers', r.response.header),
  ].filter(Boolean);
}

function summary(r, ctx) {
  const stored = storedEvents(r);
  const link = (href, text) => h('a', { href }, text);
  return h('div', { class: 'card' }, kv([
    ['Time', dateTime(r.time)], ['Duration', duration(r.duration_ms)],
    ['Path', h('span', { class: 'mono' }, long(r.path, 500))],
    ['Error', r.code && h('span', {}, h('b', {}, r.code), r.field && ['  ', h('span', { class: 'mono' }, long(r.field, 500))])],
    ['Note', r.note && long(r.note, 500)],
    ['Platform', r.platform], ['Subject', r.subject || (r.identified ? '' : 'not identified')],
    ['Events', r.event_count > 0 && `${number(r.event_count)} sent`],
    ['Stored', stored.length > 0 && h('span', {}, r.replayed > 0 && `${plural(r.replayed, 'replay')}: `,
      stored.slice(0, SHOWN_EVENTS).map((id) => [h('a', { href: ctx.href('events', { id }), class: 'mono' }, id), ' ']),
      stored.length > SHOWN_EVENTS && `and ${number(stored.length - SHOWN_EVENTS)} more`)],
    ['Reference', r.references.length > 0 && h('span', {}, r.references.map((reference) => [
      h('span', { class: 'mono' }, long(reference, 300)), ' ', link(ctx.href('requests', { reference }),
        'requests with this reference'), h('br')]))],
    ['Client', r.client], ['Request ID', r.request_id && h('span', { class: 'mono' }, r.request_id)],
  ]));
}

// storedEvents returns the ids of the events in a successful response.
function storedEvents(r) {
  if (r.status < 200 || r.status > 299 || r.method !== 'POST') return [];
  try {
    const found = JSON.parse(r.response.text);
    return (Array.isArray(found.charge_datas) ? found.charge_datas : [found]).map((e) => e?.id)
      .filter((id) => typeof id === 'string');
  } catch {
    return []; // cut off
  }
}

function violation(v) {
  return [h('b', {}, v.code), ' ', v.field && h('span', { class: 'mono' }, cut(v.field, 500)), v.field && ': ', cut(v.message, 2000)];
}

function violationNotes(violations) {
  const notes = new Map();
  for (const v of violations) {
    const note = h('div', { class: 'violation', 'data-field': cut(v.field, 500) }, violation(v));
    if (v.line > 0) notes.set(v.line, [...(notes.get(v.line) ?? []), note]);
  }
  return notes;
}

function violationList(r, body) {
  return h('div', { id: 'violations', class: 'notice', 'data-tone': 'error' },
    h('h2', {}, plural(r.violations.length, 'problem')),
    h('ul', {}, r.violations.map((v) => h('li', {}, violation(v), ' ', v.line > 0 && h('button',
      { class: 'btn link', type: 'button', onclick: () => body.jump(v.line) }, `line ${number(v.line)}`)))));
}

// payload shows a body, pretty or raw.
function payload(id, title, body, notes) {
  let view;
  const box = h('div');
  const kinds = body.pretty ? ['pretty', 'raw'] : ['raw'];
  const buttons = kinds.map((kind) => h('button', { class: 'btn', type: 'button', 'data-view': kind,
    onclick: () => show(kind) }, kind === 'pretty' ? 'Pretty' : 'Raw'));
  const show = (kind) => {
    buttons.forEach((b) => b.setAttribute('aria-pressed', b.dataset.view === kind));
    if (view?.kind === kind) return;
    const pretty = kind === 'pretty';
    view = { kind, el: lines({ label: `${title}, ${kind}`, text: pretty ? body.pretty : body.text, json: pretty,
      notes: pretty ? notes : new Map() }) };
    box.replaceChildren(view.el);
  };
  const about = [bytes(body.bytes), body.encoding === 'gzip' && 'sent with gzip',
    body.encoding === 'base64' && 'not valid UTF-8, shown as base64'].filter(Boolean).join(', ');
  const el = h('section', { id, 'aria-labelledby': `${id}-title` },
    h('div', { class: 'spread' }, h('h2', { id: `${id}-title` }, title, ' ', h('span', { class: 'muted' }, about)),
      h('div', { class: 'group' }, body.text && copyButton('Copy', () => body.text),
        kinds.length > 1 && h('div', { class: 'seg' }, buttons))),
    body.truncated && notice('warn', 'Only the beginning was recorded.'), box);
  if (body.text) show(kinds[0]);
  else box.append(h('p', { class: 'muted' }, 'Empty'));
  return { el, jump(n) { show('pretty'); view.el.jump(n); } };
}

function conflict(c, ctx) {
  const side = (id, title, text, marked) => h('div', {}, h('h3', {}, title),
    lines({ id, label: title, text, json: true, marked }));
  return h('section', { id: 'conflict', 'aria-labelledby': 'conflict-title' },
    h('h2', { id: 'conflict-title' }, 'Conflict with a stored event'),
    h('p', {}, 'Different: ', c.fields.map((f, i) => [i > 0 && ', ', h('span', { class: 'mono' }, cut(f, 500))]), '. ',
      h('a', { href: ctx.href('events', { id: c.stored_id }) }, 'Open the stored event')),
    h('div', { class: 'sides' }, side('conflict-sent', 'Sent', c.sent, c.sent_lines),
      side('conflict-stored', 'Stored', c.stored, c.stored_lines)));
}

function headers(id, title, list) {
  return h('section', { id, 'aria-labelledby': `${id}-title` }, h('h2', { id: `${id}-title` }, title),
    list.length ? h('div', { class: 'card mono' }, kv(list.map(([name, value]) => [name, long(value, 500) || ' '])))
      : h('p', { class: 'muted' }, 'None'));
}
