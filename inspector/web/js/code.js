// Payloads: lines with numbers, marks and notes. Long texts are rendered in slices.

import { h, number } from './dom.js';

const CLIP = 2000; // characters of a line
const SLICE = 16000; // characters of a line that are added at once
const CHUNK = 200; // lines that are added at once
const EAGER = 5; // chunks that are not delayed until they are near
const LINE_HEIGHT = 19;

// cut returns at most max characters and never half of a surrogate pair.
export function cut(text, max) {
  if (text.length <= max) return text;
  const end = text.charCodeAt(max - 1) >> 10 === 0x36 ? max - 1 : max;
  return `${text.slice(0, end)}…`;
}

// long is a text of which the beginning is shown, with a button for the rest.
export function long(text, max = CLIP, draw = (shown) => shown) {
  if (text.length <= max) return draw(text);
  const label = `Show all ${number(text.length)} characters`;
  const box = h('span', {}, draw(cut(text, max)), ' ', h('button', { class: 'btn link show-all', type: 'button',
    onclick: () => { box.replaceChildren(); add(0); } }, label));
  const add = (from) => {
    let end = from + SLICE;
    if (text.charCodeAt(end - 1) >> 10 === 0x36) end--;
    box.append(h('span', { class: 'slice' }, text.slice(from, end)));
    if (end < text.length) setTimeout(add, 0, end);
  };
  return box;
}

const TOKENS = /^(\s*)("(?:[^"\\]|\\.)*")?(: )?(.*)$/s;

// colored is a line of pretty JSON: at most a name and a value.
function colored(line) {
  const [, space, string, colon, rest] = TOKENS.exec(line);
  const kind = (text) => (text.startsWith('"') ? 'json-string' : /^[-\dtfn]/.test(text) ? 'json-other' : null);
  if (string && !colon) return [space, h('span', { class: 'json-string' }, string), rest];
  return [space, string && h('span', { class: 'json-key' }, string), colon, rest && h('span', { class: kind(rest) }, rest)];
}

// lines shows text. notes maps the number of a line to the nodes below it; marked holds numbers of differing lines.
// The returned element has a function jump(n), which shows a line.
export function lines({ id, label, text, json = false, notes = new Map(), marked = [] }) {
  const all = text.split('\n');
  const differs = new Set(marked);
  const box = h('div', { id, class: 'code lines', role: 'group', 'aria-label': label });
  const line = (string, n) => [h('div', { class: 'line', 'data-n': n, 'data-differs': differs.has(n) },
    differs.has(n) && h('span', { class: 'visually-hidden' }, 'differs: '),
    long(string, CLIP, json ? colored : undefined)), ...(notes.get(n) ?? [])];
  const fill = (chunk) => {
    if (chunk.firstChild) return;
    const from = Number(chunk.dataset.chunk) * CHUNK;
    chunk.append(...all.slice(from, from + CHUNK).flatMap((s, i) => line(s, from + i + 1)));
    chunk.style.minHeight = '';
    near.unobserve(chunk);
  };
  const near = new IntersectionObserver((seen) => {
    for (const { target, isIntersecting } of seen) if (isIntersecting) fill(target);
  }, { rootMargin: '1500px' });
  for (let i = 0; i * CHUNK < all.length; i++) {
    const chunk = h('div', { 'data-chunk': i });
    box.append(chunk);
    if (i < EAGER) fill(chunk);
    else {
      chunk.style.minHeight = `${Math.min(CHUNK, all.length - i * CHUNK) * LINE_HEIGHT}px`;
      near.observe(chunk);
    }
  }
  box.jump = (n) => {
    fill(box.children[Math.floor((n - 1) / CHUNK)]);
    box.querySelector(`[data-n="${n}"]`).scrollIntoView({ block: 'center' });
  };
  return box;
}
