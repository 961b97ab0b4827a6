// Payloads: lines with numbers, marks and notes. Long texts are rendered in slices.
import { button, h, number } from './dom.js';

const CLIP = 2000; // characters of a line
const SLICE = 16000; // characters of a line that are added at once
const CHUNK = 200; // lines that are added at once, when they are near
const LINE_HEIGHT = 19;
// end is where a slice of at most max characters ends that does not split a surrogate pair.
const end = (text, from, max) => from + max - (text.charCodeAt(from + max - 1) >> 10 === 0x36 ? 1 : 0);
export const cut = (text, max) => (text.length <= max ? text : `${text.slice(0, end(text, 0, max))}…`);

// long shows the beginning of a text, with a button for the rest.
export function long(text, max = CLIP, draw = (shown) => shown) {
  if (text.length <= max) return draw(text);
  const add = (from) => {
    const to = end(text, from, SLICE);
    box.append(h('span', { class: 'slice' }, text.slice(from, to)));
    if (to < text.length) setTimeout(add, 0, to);
  };
  const all = () => { box.replaceChildren(); add(0); };
  const label = `Show all ${number(text.length)} characters`;
  const box = h('span', {}, draw(cut(text, max)), ' ', button(label, all, { class: 'btn link show-all' }));
  return box;
}

// colored is a line of pretty JSON: at most a name and a value.
function colored(line) {
  const [, space, name, rest] = /^(\s*)("(?:[^"\\]|\\.)*"(?=: ))?(.*)$/s.exec(line);
  const [, colon, value] = /^((?:: )?)(.*)$/s.exec(rest);
  const kind = value.startsWith('"') ? 'json-string' : /^[-\dtfn]/.test(value) ? 'json-other' : null;
  return [space, name && h('span', { class: 'json-key' }, name), colon, h('span', { class: kind }, value)];
}

// lines shows text. notes maps the number of a line to the nodes below it; marked has the numbers of differing lines.
// jump(n) of the returned element scrolls to a line.
export function lines({ id, label, text, json = false, notes = new Map(), marked = [] }) {
  const all = text.split('\n');
  const box = h('div', { id, class: 'code lines', role: 'group', 'aria-label': label });
  const line = (string, n) => [h('div', { class: 'line', 'data-n': n, 'data-differs': marked.includes(n) },
    marked.includes(n) && h('span', { class: 'visually-hidden' }, 'differs: '),
    long(string, CLIP, json ? colored : undefined)), ...(notes.get(n) ?? [])];
  const fill = (chunk) => {
    if (chunk.firstChild) return;
    near.unobserve(chunk);
    const from = Number(chunk.dataset.chunk) * CHUNK;
    chunk.append(...all.slice(from, from + CHUNK).flatMap((string, i) => line(string, from + i + 1)));
    chunk.style.minHeight = '';
  };
  const near = new IntersectionObserver((seen) => seen.forEach((s) => s.isIntersecting && fill(s.target)),
    { rootMargin: '1500px' });
  for (let i = 0; i * CHUNK < all.length; i++) {
    const chunk = h('div', { 'data-chunk': i });
    box.append(chunk);
    chunk.style.minHeight = `${Math.min(CHUNK, all.length - i * CHUNK) * LINE_HEIGHT}px`;
    if (i === 0) fill(chunk);
    else near.observe(chunk);
  }
  box.jump = (n) => {
    fill(box.children[Math.floor((n - 1) / CHUNK)]);
    box.querySelector(`[data-n="${n}"]`).scrollIntoView({ block: 'center' });
  };
  return box;
}
