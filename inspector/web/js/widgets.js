// Templates, forms that show the server's errors next to the field they name, lists of facts, local times, polling.
import { h, notice, visible } from './dom.js';

// ZONE is the viewer's time zone, in which datetime-local controls are read.
const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;

// stamp fills container with a template, with a place for errors after each control, and returns the finder by id.
export function stamp(container, name) {
  container.append(document.getElementById(`${name}-template`).content.cloneNode(true));
  for (const place of container.querySelectorAll('.zone')) place.textContent = ZONE;
  for (const control of container.querySelectorAll('[name]')) {
    const id = `${control.form.getAttribute('id')}-${control.name}-error`;
    const place = h('p', { id, class: 'field-error', 'data-error': control.name });
    control.setAttribute('aria-describedby', id);
    control.closest('.field, .quirk').append(place);
  }
  return (id) => container.querySelector(`#${id}`);
}

// showError marks the field that error names and reports whether there is one. Without an error it removes the marks.
export function showError(form, error) {
  const places = [...form.querySelectorAll('[data-error]')];
  for (const place of places) {
    const isNamed = error?.field === place.dataset.error;
    place.textContent = isNamed ? visible(error.message) : '';
    form.elements[place.dataset.error].setAttribute('aria-invalid', isNamed);
  }
  if (!places.some((place) => place.textContent)) return false;
  form.dataset.open = '';
  form.querySelector('[aria-invalid=true]').focus();
  return true;
}

// facts is a list of [key, name, value]. The attribute holds the key.
export const facts = (attribute, list) => list.map(([key, name, value]) =>
  h('div', {}, h('dt', {}, name), h('dd', { [attribute]: key }, value)));

// fill sets the values of a list of facts in a template.
export const fill = (el, attribute, values) => Object.entries(values).forEach(([key, value]) =>
  el.querySelector(`[${attribute}="${key}"]`).replaceChildren(h('span', {}, value)));

// tr is a row of table, whose head has the names of the columns.
export const tr = (table, props, cells) => h('tr', props, cells.map((cell, i) =>
  h('td', { 'data-col': table.tHead.rows[0].cells[i].dataset.col }, cell)));

// tell shows the result of an action.
export function tell(el, tone, text) {
  el.dataset.tone = tone;
  el.textContent = visible(text);
}

// confirm asks before action; box has the button, the question, yes and no.
export function confirm(box, action) {
  const [ask, question, yes, no] = box.children;
  const show = (asking, focused) => {
    ask.hidden = !(question.hidden = yes.hidden = no.hidden = !asking);
    focused.focus();
  };
  ask.addEventListener('click', () => show(true, no));
  no.addEventListener('click', () => show(false, ask));
  yes.addEventListener('click', () => { show(false, ask); action(); });
  box.addEventListener('keydown', (event) => { if (event.key === 'Escape') show(false, ask); });
}

// pager handles the buttons NAME-first, NAME-previous and NAME-next. load shows the page after pages.after.
export function pager($, name, load) {
  const [first, previous, next] = ['first', 'previous', 'next'].map((button) => $(`${name}-${button}`));
  const pages = { cursors: [], get after() { return pages.cursors.at(-1); },
    turn(...cursors) { pages.cursors = cursors; return load(); },
    show(after) {
      first.disabled = previous.disabled = pages.cursors.length === 0;
      next.disabled = !after;
      next.dataset.after = after;
    } };
  first.onclick = () => pages.turn();
  previous.onclick = () => pages.turn(...pages.cursors.slice(0, -1));
  next.onclick = () => pages.turn(...pages.cursors, next.dataset.after);
  return pages;
}

// refill fills el with build(value) unless it shows that value; the focus stays on the element with its id.
export function refill(el, value, build) {
  const key = JSON.stringify(value) ?? 'none';
  if (el.shown === key) return;
  el.shown = key;
  const focused = el.contains(document.activeElement) && document.activeElement.id;
  el.replaceChildren(...[build(value)].flat());
  if (focused) document.getElementById(focused)?.focus();
}

// toUTC turns a local time such as 2026-11-30T14:05 into RFC 3339.
export const toUTC = (local) => new Date(local).toISOString().replace('.000', '');

// toLocal is the opposite, or '' if text is not a time.
export function toLocal(text) {
  const at = new Date(text);
  return Number.isNaN(at.valueOf()) ? '' : new Date(at - at.getTimezoneOffset() * 60000).toISOString().slice(0, 19);
}

// isIgnored reports whether the shell shows the error, or nobody has to see it.
export const isIgnored = (error) => error?.name === 'AbortError' || error?.status === 401;

// polling calls load(signal) every 4 seconds while the page is visible, and shows errors at the top of container.
export function polling(container, load) {
  let timer;
  let abort = new AbortController();
  const failure = h('div', { class: 'failure' });
  container.prepend(failure);
  const stop = () => { clearTimeout(timer); abort.abort(); };
  async function update() {
    stop();
    if (document.hidden || !container.isConnected) return;
    const { signal } = abort = new AbortController();
    const error = await load(signal).catch((thrown) => thrown);
    if (signal.aborted || isIgnored(error)) return;
    refill(failure, error?.message, (text) => (text ? notice('error', text) : []));
    timer = setTimeout(update, 4000);
  }
  document.addEventListener('visibilitychange', update);
  return { update, unmount() { stop(); document.removeEventListener('visibilitychange', update); } };
}
