// A grid of rows of one height. Only the rows in view exist, so that it stays fluid with 10,000 of them.

import { h } from './dom.js';

const SPARE = 10; // rows above and below the visible ones
const NARROW = 720; // pixels below which a row has two lines

export class List {
  #make; #onScroll; #elements = new Map(); #height = 0; #frame = 0;
  items = [];
  cursor = null; // id of the row that keys act on

  // columns are [name, label]; make(item) returns the contents of a row's cells.
  constructor({ label, columns, make, onScroll, onLeave }) {
    this.#make = make;
    this.#onScroll = onScroll;
    this.columns = columns;
    this.rows = h('div', { class: 'rows', role: 'rowgroup', onpointerleave: onLeave });
    this.el = h('div', { id: 'list', class: 'list', role: 'grid', 'aria-label': label, tabindex: 0, onscroll: () => {
      this.#frame ||= requestAnimationFrame(() => this.#draw());
    } }, h('div', { class: 'row head', role: 'row', 'aria-rowindex': 1 },
      columns.map(([name, text]) => h('div', { role: 'columnheader', 'data-col': name }, text))), this.rows);
    this.observer = new ResizeObserver(() => this.#measure());
    this.observer.observe(this.el);
  }

  #measure() {
    const top = this.rowHeight ? this.el.scrollTop / this.rowHeight : 0;
    const seen = this.#position(this.cursor) - top;
    this.el.dataset.layout = this.el.clientWidth < NARROW ? 'narrow' : 'wide';
    const rowHeight = Number.parseInt(getComputedStyle(this.el).getPropertyValue('--row'), 10);
    const before = this.#height;
    this.#height = this.el.clientHeight;
    if (this.rowHeight === rowHeight) return before !== this.#height && this.#draw();
    this.rowHeight = rowHeight;
    this.#resize();
    // the row that the user looks at stays in its place
    this.el.scrollTop = (seen >= 0 && seen * rowHeight < this.#height - rowHeight ? top : top + Math.max(0, seen)) * rowHeight;
    this.#draw();
  }

  #position(id) { return this.items.findIndex((item) => item.id === id); }

  #resize() {
    this.rows.style.height = `${this.items.length * this.rowHeight}px`;
    this.el.setAttribute('aria-rowcount', this.items.length + 1);
  }

  // holds reports whether new rows on top would move what the user looks at.
  get holds() {
    return this.el.scrollTop > 0 || (document.activeElement === this.el && this.cursor !== null) ||
      (matchMedia('(hover: hover)').matches && this.rows.matches(':hover'));
  }

  set(items) {
    this.items = items;
    if (!this.rowHeight) return;
    this.#resize();
    this.#draw();
  }

  point(id) {
    this.cursor = id;
    this.#draw();
  }

  // move changes the cursor by some rows and returns its item.
  move(by) {
    const at = this.#position(this.cursor);
    const start = at < 0 ? Math.floor(this.el.scrollTop / this.rowHeight) - Math.sign(by) : at;
    const item = this.items[Math.max(0, Math.min(this.items.length - 1, start + by))];
    if (item) this.reveal(item.id);
    return item;
  }

  reveal(id) {
    const head = this.rows.offsetTop;
    const top = this.#position(id) * this.rowHeight;
    if (top >= 0 && top < this.el.scrollTop) this.el.scrollTop = top;
    else if (top + this.rowHeight + head > this.el.scrollTop + this.#height) {
      this.el.scrollTop = top + this.rowHeight + head - this.#height;
    }
    this.point(id);
  }

  get page() { return Math.max(1, Math.floor(this.#height / this.rowHeight) - 2); }

  #draw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    if (!this.rowHeight) return;
    const from = Math.max(0, Math.floor(this.el.scrollTop / this.rowHeight) - SPARE);
    const shown = this.items.slice(from, from + Math.ceil(this.#height / this.rowHeight) + 2 * SPARE);
    const ids = new Set(shown.map((item) => item.id));
    for (const [id, el] of this.#elements) {
      if (ids.has(id)) continue;
      el.remove();
      this.#elements.delete(id);
    }
    shown.forEach((item, i) => {
      let el = this.#elements.get(item.id);
      if (!el) this.#elements.set(item.id, el = this.#row(item));
      el.style.transform = `translateY(${(from + i) * this.rowHeight}px)`;
      el.setAttribute('aria-rowindex', from + i + 2);
      el.setAttribute('aria-selected', item.id === this.cursor);
      if (this.rows.children[i] !== el) this.rows.insertBefore(el, this.rows.children[i] ?? null);
    });
    if (ids.has(this.cursor)) this.el.setAttribute('aria-activedescendant', `row-${this.cursor}`);
    else this.el.removeAttribute('aria-activedescendant');
    this.#onScroll(this.items.length - from - shown.length);
  }

  #row(item) {
    return h('div', { id: `row-${item.id}`, class: 'row', role: 'row', 'data-id': item.id, 'data-status': item.status },
      this.#make(item).map((cell, i) => h('div', { role: 'gridcell', 'data-col': this.columns[i][0] }, cell)));
  }
}
