// One request in full: the panel next to the list, or the whole page if that is narrow.
import { bytes, button, copyButton, dateTime, duration, faint, h, kv, mono, notice, number, plural,
  statusBadge, visible } from './dom.js';
import { cut, lines, long } from './code.js';

const SHOWN_EVENTS = 20;
const NAMES = { pretty: 'Pretty', raw: 'Raw' };
const GONE = 'This request is not recorded: it was dropped, it belongs to another platform, or the server was restarted.';

const section = (id, title, ...children) =>
  h('section', { id, 'aria-labelledby': `${id}-title` }, h('h3', { id: `${id}-title` }, title), ...children);

export class Detail {
  #ctx; #abort = new AbortController();
  constructor(parent, ctx, close) {
    this.#ctx = ctx;
    parent.append(document.getElementById('detail-template').content.cloneNode(true));
    this.panel = parent.lastElementChild;
    [this.title, this.actions, this.content] = ['title', 'actions', 'content'].map((id) =>
      this.panel.querySelector(`#detail-${id}`));
    this.panel.querySelector('#close-detail').onclick = close;
    this.title.focus();
  }
  remove() {
    this.#abort.abort();
    this.panel.remove();
  }
  async show(id) {
    this.id = id;
    this.#abort.abort();
    const { signal } = this.#abort = new AbortController();
    try {
      this.#fill(await this.#ctx.api.get(`api/requests/${encodeURIComponent(id)}`, {}, signal));
    } catch (error) {
      if (error.name === 'AbortError' || error.status === 401) return;
      this.title.replaceChildren('Request');
      this.actions.replaceChildren();
      this.content.replaceChildren(error.status === 404 ? notice('warn', GONE) : notice('error', error.message),
        h('div', {}, button('Try again', () => this.show(id))));
    }
    this.panel.dataset.id = id;
    this.panel.scrollTop = 0;
  }
  #fill(r) {
    this.title.replaceChildren(statusBadge(r.status), h('span', {}, `${r.method} ${r.route || cut(r.path, 200)}`));
    const { curl, ...shown } = r;
    const warning = r.host === location.host ? '' : `# The host is not that of this page: ${visible(r.host)}\n`;
    this.actions.replaceChildren(copyButton('Copy as curl', () => warning + curl, { id: 'copy-curl' }),
      copyButton('Copy as JSON', () => JSON.stringify(shown, null, 2), { id: 'copy-json' }));
    const body = payload('detail-body', 'Request body', r.body, r.violations);
    this.content.replaceChildren(...[r.violations.length > 0 && violationList(r.violations, body),
      r.conflict && conflict(r.conflict, this.#ctx), summary(r, this.#ctx), body,
      payload('detail-response', 'Response', r.response), headers('request-headers', 'Request headers', r.header),
      headers('response-headers', 'Response headers', r.response.header)].filter(Boolean));
  }
}

function summary(r, ctx) {
  const response = parsed(r.response.text);
  const stored = r.status === 201 ? (response.charge_datas ?? [response]).map((event) => event.id).filter(Boolean) : [];
  const link = (id) => [h('a', { href: ctx.href('events', { id }), class: 'mono' }, id), ' '];
  const reference = (text) => h('div', {}, mono(long(text, 300)), ' ',
    h('a', { href: ctx.href('requests', { reference: text }) }, 'Requests with this reference'));
  return h('div', { class: 'card' }, kv([
    ['Time', [dateTime(r.time), `, took ${duration(r.duration_ms)}`]], ['Path', mono(long(r.path, 500))],
    ['Error', r.violations.length === 0 && r.code && [h('b', {}, r.code), ' ', mono(long(r.field, 500)), ' ',
      cut(String(response.message ?? ''), 2000)]],
    ['Note', long(r.note, 500)],
    ['Platform', r.platform], ['Subject', r.subject || (r.identified ? '' : 'not identified')],
    ['Events', r.event_count > 0 && `${number(r.event_count)} sent`], ['Replays', r.replayed > 0 && number(r.replayed)],
    ['Stored', stored.length > 0 && [stored.slice(0, SHOWN_EVENTS).map(link),
      stored.length > SHOWN_EVENTS && `and ${number(stored.length - SHOWN_EVENTS)} more`]],
    ['Reference', r.references.length > 0 && r.references.map(reference)],
    ['Client', r.client], ['Request ID', r.request_id && mono(r.request_id)],
  ]));
}

// parsed returns the object that text has, or none if it was cut off.
function parsed(text) {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}

// violation shows the field once: most messages begin with it.
function violation({ code, field, message }) {
  const rest = message.startsWith(`${field} `) ? message.slice(field.length) : `${field && ': '}${message}`;
  return [h('b', {}, code), ' ', mono(cut(field, 500)), cut(rest, 2000)];
}
const note = (v) => h('div', { class: 'violation', 'data-field': cut(v.field, 500) }, violation(v));

function violationList(violations, body) {
  const item = (v) => h('li', {}, violation(v), ' ', v.line > 0 &&
    button(`line ${number(v.line)}`, () => body.jump(v.line), { class: 'btn link' }));
  return h('div', { id: 'violations', class: 'notice', 'data-tone': 'error' },
    h('h3', {}, plural(violations.length, 'problem')), h('ul', {}, violations.map(item)));
}

// payload shows a body, pretty or raw.
function payload(id, title, body, violations = []) {
  const box = h('div', {}, !body.text && h('p', { class: 'muted' }, 'Empty'));
  const kinds = body.pretty ? ['pretty', 'raw'] : ['raw'];
  const show = (kind) => {
    const pretty = kind === 'pretty';
    const notes = new Map();
    for (const v of pretty ? violations : []) notes.set(v.line, [...(notes.get(v.line) ?? []), note(v)]);
    buttons.forEach((b) => b.setAttribute('aria-pressed', b.dataset.view === kind));
    const text = pretty ? body.pretty : body.text;
    box.replaceChildren(lines({ label: `${title}, ${kind}`, text, json: pretty, notes }));
  };
  const buttons = kinds.map((kind) => button(NAMES[kind], () => show(kind), { 'data-view': kind }));
  const about = { '': '', gzip: ', sent with gzip', base64: ', not valid UTF-8: shown as base64' }[body.encoding];
  const el = section(id, [title, ' ', faint(bytes(body.bytes), about)],
    body.text && h('div', { class: 'seg', role: 'group', 'aria-label': title },
      copyButton('Copy', () => body.text), kinds.length > 1 && buttons),
    body.truncated && notice('warn', 'Only the beginning was recorded.'), box);
  if (body.text) show(kinds[0]);
  el.jump = (line) => {
    if (buttons[0].getAttribute('aria-pressed') !== 'true') show('pretty');
    box.firstChild.jump(line);
  };
  return el;
}

function conflict(c, ctx) {
  const side = (id, label, text, marked) =>
    h('div', {}, h('h4', {}, label), lines({ id, label, text, json: true, marked }));
  return section('conflict', 'Conflict with a stored event', h('p', {}, 'Different: ',
    c.fields.map((f, i) => [i > 0 && ', ', mono(cut(f, 500))]), '. ',
    h('a', { href: ctx.href('events', { id: c.stored_id }) }, 'Open the stored event')),
  h('div', { class: 'sides' }, side('conflict-sent', 'Sent', c.sent, c.sent_lines),
    side('conflict-stored', 'Stored', c.stored, c.stored_lines)));
}

const headers = (id, title, list) => section(id, title, list.length
  ? h('div', { class: 'card mono' }, kv(list.map(([name, value]) => [name, long(value, 500) || ' '])))
  : h('p', { class: 'muted' }, 'None'));
