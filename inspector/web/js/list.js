// A grid of rows of one height. Only the rows in view exist, so that it stays fluid with 10,000 of them.
import { h } from './dom.js';

const SPARE = 6; // rows above and below the visible ones
const NARROW = 720; // pixels below which a row has two lines

export class List {
  #row; #onEnd; #elements = new Map(); #height = 0; #rowHeight = 0; #frame = 0;
  items = [];
  cursor = null; // id of the row that keys act on
  atEnd = true; // the last row is in view or nearly

  // el has a head with the columns; make(item) returns the contents of a row's cells; onEnd is called at the last rows.
  constructor(el, make, onEnd) {
    const columns = [...el.querySelectorAll('[role=columnheader]')].map(({ dataset }) => dataset.col);
    const cell = (content, i) => h('div', { role: 'gridcell', 'data-col': columns[i] }, content);
    this.#row = (item) => h('div', { id: `row-${item.id}`, class: 'row', role: 'row', 'data-id': item.id,
      'data-status': item.status }, make(item).map(cell));
    this.#onEnd = onEnd;
    this.el = el;
    this.rows = el.lastElementChild;
    el.addEventListener('scroll', () => { this.#frame ||= requestAnimationFrame(() => this.#draw()); });
    this.observer = new ResizeObserver(() => this.#measure());
    this.observer.observe(el);
  }
  #measure() {
    const before = this.#rowHeight;
    const top = this.el.scrollTop / before;
    this.el.dataset.layout = this.el.clientWidth < NARROW ? 'narrow' : 'wide';
    this.#rowHeight = Number.parseInt(getComputedStyle(this.el).getPropertyValue('--row'), 10);
    this.#height = this.el.clientHeight;
    this.set(this.items);
    if (before === this.#rowHeight) return;
    this.el.scrollTop = top * this.#rowHeight || 0;
    this.reveal(this.cursor);
  }
  #position(id) { return this.items.findIndex((item) => item.id === id); }
  // holds reports whether new rows on top would move what the user looks at.
  get holds() {
    return this.el.scrollTop > 0 || (this.cursor !== null && this.el.matches(':focus-visible')) ||
      (matchMedia('(hover: hover)').matches && this.rows.matches(':hover'));
  }
  set(items) {
    this.items = items;
    this.rows.style.height = `${items.length * this.#rowHeight}px`;
    this.el.setAttribute('aria-rowcount', items.length + 1);
    this.#draw();
  }
  // move changes the cursor by one row, from the first one in view if there is none, and returns its id.
  move(by) {
    const at = this.#position(this.cursor);
    const to = at < 0 ? Math.floor(this.el.scrollTop / this.#rowHeight) : at + by;
    const item = this.items[Math.max(0, Math.min(this.items.length - 1, to))];
    if (item) this.reveal(item.id);
    return item?.id ?? null;
  }
  // reveal moves the cursor to a row and scrolls to it.
  reveal(id) {
    this.cursor = id;
    const at = this.#position(id);
    const lowest = (at + 1) * this.#rowHeight + this.rows.offsetTop - this.#height;
    if (at >= 0) this.el.scrollTop = Math.max(Math.min(this.el.scrollTop, at * this.#rowHeight), lowest);
    this.#draw();
  }
  #draw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    if (!this.#rowHeight) return;
    const from = Math.max(0, Math.floor(this.el.scrollTop / this.#rowHeight) - SPARE);
    const shown = this.items.slice(from, from + Math.ceil(this.#height / this.#rowHeight) + 2 * SPARE);
    const before = this.#elements;
    this.#elements = new Map(shown.map((item) => [item, before.get(item) ?? this.#row(item)]));
    for (const [item, el] of before) if (!this.#elements.has(item)) el.remove();
    this.el.removeAttribute('aria-activedescendant');
    [...this.#elements].forEach(([item, el], i) => {
      el.style.transform = `translateY(${(from + i) * this.#rowHeight}px)`;
      el.setAttribute('aria-rowindex', from + i + 2);
      el.setAttribute('aria-selected', item.id === this.cursor);
      if (item.id === this.cursor) this.el.setAttribute('aria-activedescendant', el.id);
      if (this.rows.children[i] !== el) this.rows.insertBefore(el, this.rows.children[i] ?? null);
    });
    this.atEnd = from + shown.length === this.items.length;
    if (this.atEnd) this.#onEnd();
  }
}
