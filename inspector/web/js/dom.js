// Elements, formats and the clipboard. Text reaches the page only as text nodes and attributes.

// Invisible or reordering: C0 and C1 controls but tab and newline, zero-width and bidi controls, separators, tags.
const HIDDEN = new RegExp('[\\0-\\x08\\x0b-\\x1f\\x7f-\\x9f\\xad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e' +
  '\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb\\u{e0000}-\\u{e007f}]', 'gu');

// visible replaces invisible characters: U+202E becomes ⟨U+202E⟩.
export const visible = (text) => String(text).replace(HIDDEN, (c) =>
  `⟨U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, '0')}⟩`);

function build(el, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === 'function') el.addEventListener(name.slice(2), value);
    else if (name === 'value') el.value = value;
    else el.setAttribute(name, value === true ? '' : visible(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    el.append(child instanceof Node ? child : visible(child));
  }
  return el;
}

// h('button', {class: 'btn', onclick: f, disabled: false}, 'text', node, [more]) makes an element. Functions become
// listeners; null and false omit an attribute or a child; texts are made visible.
export const h = (tag, props, ...children) => build(document.createElement(tag), props, children);
export const svg = (tag, props, ...children) => build(document.createElementNS('http://www.w3.org/2000/svg', tag), props, children);
const clock = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' });
const day = new Intl.DateTimeFormat('en-GB', { month: 'short', day: 'numeric' });
const full = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' });
const decimal = new Intl.NumberFormat('en', { maximumFractionDigits: 2 });
const shown = (iso, text) => h('time', { datetime: iso, title: iso }, text);
export const number = (n) => decimal.format(n);
export const plural = (n, one) => `${number(n)} ${one}${n === 1 ? '' : 's'}`;

export function bytes(n) {
  const unit = n < 1024 ? 0 : Math.min(3, Math.floor(Math.log2(n) / 10));
  return `${(n / 1024 ** unit).toFixed(unit && 1)}\xa0${['B', 'KiB', 'MiB', 'GiB'][unit]}`;
}

export function duration(ms) {
  if (ms < 1) return `${Math.round(ms * 1000)}\xa0µs`;
  return ms < 1000 ? `${ms.toFixed(ms < 10 ? 1 : 0)}\xa0ms` : `${(ms / 1000).toFixed(1)}\xa0s`;
}

// time is the local clock with milliseconds, or with the day unless that is today.
export function time(iso) {
  const at = new Date(iso);
  if (at.toDateString() !== new Date().toDateString()) return shown(iso, `${day.format(at)} ${clock.format(at)}`);
  return shown(iso, `${clock.format(at)}.${String(at.getMilliseconds()).padStart(3, '0')}`);
}

export const dateTime = (iso) => shown(iso, full.format(new Date(iso)));
export const badge = (tone, ...text) => h('span', { class: 'badge', 'data-tone': tone }, text);
export const mono = (...children) => h('span', { class: 'mono' }, children);
export const faint = (...children) => h('span', { class: 'muted' }, children);

export function statusBadge(status) {
  const tone = status === 409 ? 'conflict' : { 2: 'ok', 4: 'warn', 5: 'error' }[Math.floor(status / 100)] ?? 'none';
  return badge(tone, status || h('span', { title: 'No response' }, 'none'));
}

async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text).then(() => true, () => false);
  const area = h('textarea', { class: 'visually-hidden', value: text }); // plain HTTP has no clipboard object
  document.body.append(area);
  area.select();
  const done = document.execCommand('copy');
  area.remove();
  return done;
}

export function copyButton(label, text, props) {
  const el = button(label, async () => {
    el.style.minWidth = `${el.offsetWidth}px`;
    el.textContent = await copy(text()) ? 'Copied' : 'Not copied';
    el.focus();
    setTimeout(() => { el.textContent = label; }, 1500);
  }, props);
  return el;
}

export const button = (label, onclick, more) => h('button', { class: 'btn', type: 'button', onclick, ...more }, label);


// kv is a list of names and values; pairs without a value are left out.
export const kv = (pairs) => h('dl', { class: 'kv' }, pairs.filter(([, value]) => value || value === 0)
  .map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value))));
export const notice = (tone, ...children) =>
  h('div', { class: 'notice', 'data-tone': tone, role: tone === 'error' ? 'alert' : null }, ...children);

export const empty = (title, ...children) => h('div', { class: 'empty' }, h('h2', {}, title), ...children);
