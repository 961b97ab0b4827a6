// Forms that show the server's errors next to the field they name, and lists of facts.

import { field, h, select } from './dom.js';

// input is a labelled control. name is the field's name in the API; other props belong to the control.
export function input(form, name, label, { options, hint, tag = 'input', ...props } = {}) {
  const id = `${form}-${name.replaceAll('.', '-')}`;
  const all = { id, name, 'aria-describedby': `${id}-hint ${id}-error`, autocomplete: 'off', spellcheck: 'false', ...props };
  const control = options ? select(all, options) : h(tag, all);
  const box = field(label, control);
  if (props.type === 'checkbox') box.classList.add('check');
  box.append(h('p', { id: `${id}-hint`, class: 'field-hint' }, hint),
    h('p', { id: `${id}-error`, class: 'field-error', 'data-error': name }));
  return box;
}

export const button = (label, onclick, { class: extra = '', ...props } = {}) =>
  h('button', { class: `btn ${extra}`, type: onclick ? 'button' : 'submit', onclick, ...props }, label);

// values returns the names and trimmed texts of the fields that are filled in and enabled.
export const values = (form) => Object.fromEntries([...new FormData(form)]
  .map(([name, text]) => [name, text.trim()]).filter(([, text]) => text !== ''));

// showError marks the field that error names and reports whether there is one. No error: it clears the marks.
export function showError(form, error) {
  let found = false;
  for (const place of form.querySelectorAll('[data-error]')) {
    const named = !!error?.field && !found && place.dataset.error === error.field;
    const control = form.elements[place.dataset.error];
    place.textContent = named ? error.message : '';
    control.toggleAttribute('aria-invalid', false);
    if (!named) continue;
    found = true;
    control.setAttribute('aria-invalid', 'true');
    control.focus();
  }
  return found;
}

// facts is a list of [key, name, value]; tests and styles find the value by attribute=key.
export const facts = (attribute, list) => h('dl', { class: 'kv' }, list.map(([key, name, value]) =>
  h('div', {}, h('dt', {}, name), h('dd', { [attribute]: key }, value))));

const filled = new WeakMap();

// refill fills el with build(value) unless it shows that value already; the focus stays on the element with its id.
export function refill(el, value, build) {
  const key = JSON.stringify(value);
  if (filled.get(el) === key) return;
  filled.set(el, key);
  const focused = el.contains(document.activeElement) && document.activeElement.id;
  el.replaceChildren(...[build(value)].flat(Infinity).filter(Boolean));
  if (focused) document.getElementById(focused)?.focus();
}
