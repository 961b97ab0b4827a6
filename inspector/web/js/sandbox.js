// The switches of the test server: faults, clock, data, and the vendor's quirks.

import { dateTime, h, number, plural, time, visible } from './dom.js';
import { ZONE, button, facts, input, isIgnored, polling, refill, showError, withOffset } from './widgets.js';

export const title = 'Sandbox';

const REFRESH = 3000; // milliseconds
const HOW = [['next', 'The next'], ['for', 'For a time'], ['probability', 'At random'], ['quota', 'Above a quota']];
const TYPES = [['status', 'Error status'], ['reset', 'Cut the connection'], ['delay', 'Delay'],
  ['slow_body', 'Slow response'], ['truncated', 'Response cut off'], ['malformed', 'Response is not JSON'],
  ['store_error', 'Error of the store']];
const ERRORS = ['not_stored', 'outcome_unknown', 'overloaded', 'closed'].map((name) => [name, name.replace('_', ' ')]);
const ROUTES = ['', 'charge-data', 'charge-datas', 'charge-data/{id}', 'charge-data list'].map((r) => [r, r || 'any']);

const whole = (value) => ({ inputmode: 'numeric', value });
const how = (name) => (form) => form.how.value === name;
const fault = (...types) => (form) => form.how.value !== 'quota' && types.includes(form['fault.type'].value);
const anyFault = (form) => form.how.value !== 'quota';

// The form for a fault: sections of [name in the API, label, control, when it applies].
const FAULT = [['Which requests', [
  ['how', 'Requests', { options: HOW }], ['next', 'How many', whole('1'), how('next')],
  ['for', 'Duration', { value: '30s' }, how('for')], ['probability', 'Probability', whole('0.5'), how('probability')],
  ['seed', 'Seed', whole('1'), how('probability')], ['quota.requests', 'Requests allowed', whole('10'), how('quota')],
  ['quota.window', 'In each', { value: '1s' }, how('quota')]]],
['What happens to them', [
  ['fault.type', 'Fault', { options: TYPES }, anyFault], ['fault.status', 'Status', whole('503'), fault('status')],
  ['fault.retry_after', 'Retry-After', { placeholder: '2s' }, fault('status')],
  ['fault.code', 'Code', {}, fault('status')], ['fault.message', 'Message', {}, fault('status')],
  ['fault.field', 'Field', { placeholder: 'value.number' }, fault('status')],
  ['fault.duration', 'Duration', { value: '2s' }, fault('slow_body')],
  ['fault.error', 'Error', { options: ERRORS }, fault('store_error')],
  ['fault.delay', 'Delay', { placeholder: '150ms' }, anyFault],
  ['fault.after_commit', 'After the commit: events are stored', { type: 'checkbox' },
    fault('status', 'reset', 'delay', 'store_error')]]],
['Only requests with', [
  ['match.reference', 'Reference'], ['match.customer', 'Customer'], ['match.route', 'Route', { options: ROUTES }],
  ['match.nth', 'Nth match', whole('')],
  ['match.credential', 'Credential', { type: 'password', autocomplete: 'new-password' }],
  ['match.method', 'Method', { placeholder: 'POST' }], ['match.path', 'Path'], ['match.body', 'Text in the body']]]];

// The switches of the profile: [name, label, first values by field]; those without a value are flags.
const QUIRKS = [
  ['min_reference_length', 'Minimum length of references', { min_reference_length: '10' }],
  ['max_future_skew', 'Timestamps at most this far ahead', { max_future_skew: '30m' }],
  ['whole_seconds', 'Timestamps in whole seconds only', {}],
  ['max_batch_events', 'Maximum number of events in a batch', { max_batch_events: '50' }],
  ['return_original', 'A repeated reference returns the original event', {}],
  ['catalogue', 'Customers, subscriptions and products of the catalogue only', {}],
  ['rate_limit', 'Rate limit: requests in each period', { 'rate_limit.requests': '100', 'rate_limit.window': '1s' }]];
const LISTS = ['customers', 'subscriptions', 'products'];

// CALLS are the calls of the forms: method, path, the result as text.
const clockText = (clock) => `The clock shows ${clock.now}.`;
const CALLS = {
  'fault-form': ['POST', 'faults', (added) => `Added: ${added.description}`],
  'advance-form': ['POST', 'clock', clockText],
  'set-form': ['POST', 'clock', clockText],
  'seed-form': ['POST', 'events', (stored) => `Stored: ${plural(stored.charge_datas.length, 'event')}.`],
  'catalogue-form': ['PUT', 'catalogue', () => 'The catalogue is saved.'],
};

// read returns the API's value of a control, undefined if there is none. The server rejects a text for a number.
function read({ value, type, checked, inputMode }) {
  const text = value.trim();
  if (type === 'checkbox') return checked || undefined;
  if (type === 'textarea') return text.split(/\s*\n\s*/).filter(Boolean);
  if (type === 'datetime-local' && text) return withOffset(text);
  return inputMode === 'numeric' && text && !Number.isNaN(Number(text)) ? Number(text) : text || undefined;
}

// nested makes the body of a call: match.nth becomes {match: {nth: 1}}.
function nested(controls) {
  const body = {};
  for (const control of controls) {
    const value = control.name && control.name !== 'how' && !control.disabled ? read(control) : undefined;
    const [outer, inner] = control.name.split('.');
    if (value === undefined) continue;
    if (inner) (body[outer] ??= {})[inner] = value;
    else body[outer] = value;
  }
  return body;
}

// confirming is a button that asks in place.
function confirming(id, label, question, action) {
  const box = h('div', { class: 'group', onkeydown: (event) => event.key === 'Escape' && back() });
  const ask = button(label, () => { box.replaceChildren(question, yes, no); no.focus(); }, { id, class: 'danger' });
  const yes = button(label, () => { back(); action(); }, { id: `${id}-yes`, class: 'danger' });
  const no = button('Cancel', back, { id: `${id}-no` });
  function back() {
    box.replaceChildren(ask);
    ask.focus();
  }
  box.append(ask);
  return box;
}

function faultForm() {
  const form = h('form', { id: 'fault-form', class: 'stack', onchange: choose }, FAULT.map(([legend, list]) =>
    h('fieldset', {}, h('legend', {}, legend), h('div', { class: 'form' }, list.map((one) => input('fault', ...one))))),
  h('div', {}, button('Add fault', null, { id: 'fault-add', class: 'primary' })));
  function choose() {
    for (const [name, , , when] of FAULT.flatMap(([, list]) => list)) {
      const control = form.elements[name];
      control.disabled = !!when && !when(form.elements);
      control.closest('.field').hidden = control.disabled;
    }
  }
  choose();
  return form;
}

function quirk([name, label, first]) {
  const fields = Object.entries(first);
  const flag = h('input', { type: 'checkbox', 'data-quirk': name, name: fields.length ? null : name });
  return h('div', { class: 'quirk' }, h('label', { class: 'check' }, flag, h('span', {}, label, h('code', {}, name))),
    fields.map(([field, value]) => h('input', { name: field, value, 'aria-label': field, autocomplete: 'off',
      inputmode: Number(value) ? 'numeric' : 'text' })),
    (fields.length ? fields : [[name]]).map(([field]) => h('p', { class: 'field-error', 'data-error': field })));
}

export function mount(container, ctx) {
  const card = (...children) => h('section', { class: 'card stack' }, ...children);
  const h2 = (text) => h('h2', {}, text);
  const small = (id, control, verb) => h('form', { id: `${id}-form`, class: 'small' }, control, button(verb));
  const state = h('dl', { id: 'sandbox-state', class: 'tiles' });
  const faults = h('ul', { id: 'fault-list', class: 'faults' });
  const clear = button('Remove all', () => act(null, 'DELETE', 'faults', () => 'All faults are removed.'),
    { id: 'fault-clear' });
  const form = faultForm();
  const advance = small('advance', input('advance', 'advance', 'Advance the clock by', { value: '1h' }), 'Advance');
  const local = { type: 'datetime-local', step: 1 };
  const set = small('set', input('set', 'set', `Set the clock to (${ZONE})`, local), 'Set');
  const seed = small('seed', input('seed', 'samples', 'Sample events', whole('3')), 'Store');
  const restart = confirming('sandbox-restart', 'Restart', 'Really cut all connections?', () =>
    act(null, 'POST', 'restart', () => 'The server restarted.', {}));
  const reset = confirming('sandbox-reset', 'Reset', 'Really delete all events and faults?', () =>
    act(null, 'POST', 'reset', () => 'The server is as new.', {}).then(loadCatalogue));
  const profile = h('form', { id: 'profile-form', onchange: switchQuirk }, QUIRKS.map(quirk));
  const save = button('Save catalogue', null, { id: 'catalogue-save' });
  const catalogue = h('form', { id: 'catalogue-form', class: 'stack' },
    h('div', { class: 'form' }, LISTS.map((name) => input('catalogue', name, name, { tag: 'textarea', rows: 4 }))),
    h('div', {}, save));
  const result = h('p', { id: 'sandbox-result', class: 'result', role: 'status' });
  container.addEventListener('submit', (event) => {
    event.preventDefault();
    const { id, elements } = event.target;
    if (CALLS[id]) act(event.target, ...CALLS[id], nested(elements));
  });
  container.append(h('div', { class: 'stack' }, state, h('div', { class: 'columns' },
    card(h('div', { class: 'spread' }, h2('Faults'), clear), faults, form), h('div', { class: 'stack' },
      card(h2('Clock and data'), advance, set, seed, h('div', { class: 'group' }, restart, reset)),
      card(h2('Vendor profile'), profile))), card(h2('Catalogue'), catalogue)), result);

  // act makes a call and shows its result, or its error next to the field of a form that it names.
  async function act(of, method, path, text, body) {
    if (of) showError(of);
    try {
      const done = text(await ctx.api.send(method, `sandbox/${path}`, body));
      tell('ok', done);
    } catch (error) {
      if (isIgnored(error)) return;
      tell('error', `Not done: ${of && showError(of, error) ? 'see the marked field.' : error.message}`);
    }
    live.update();
  }

  function tell(tone, text) {
    result.dataset.tone = tone;
    result.textContent = visible(text);
  }

  function switchQuirk({ target }) {
    const row = target.closest('.quirk');
    const flag = row.querySelector('[data-quirk]');
    if (target !== flag && !flag.checked) return;
    const { quirk: name } = flag.dataset;
    const inputs = row.querySelectorAll('input:not([type=checkbox])');
    const body = flag.checked && inputs.length ? nested(inputs) : { [name]: inputs.length ? null : flag.checked };
    act(profile, 'PATCH', 'profile', (now) => `${name} is ${now[name] ? 'on' : 'off'}.`, body);
  }

  async function loadCatalogue() {
    save.disabled = true;
    try {
      const found = await ctx.api.get('sandbox/catalogue');
      for (const name of LISTS) catalogue.elements[name].value = found[name].join('\n');
      save.disabled = false;
    } catch (error) {
      if (!isIgnored(error)) tell('error', error.message);
    }
  }

  function showProfile(found) {
    for (const [name, , fields] of QUIRKS) {
      profile.querySelector(`[data-quirk=${name}]`).checked = !!found[name];
      for (const control of found[name] ? Object.keys(fields).map((field) => profile.elements[field]) : []) {
        if (control !== document.activeElement) control.value = found[name][control.name.split('.')[1]] ?? found[name];
      }
    }
  }

  function showFault({ id, description, hits, left, until }) {
    const remove = () => act(null, 'DELETE', `faults/${id}`, () => `Removed: ${description}`);
    return h('li', { 'data-fault': id }, h('code', { class: 'mono' }, description),
      h('span', { class: 'muted', 'data-hits': hits }, plural(hits, 'hit'), left > 0 && ` · ${number(left)} left`,
        until && [' · until ', time(until)]),
      button('Remove', remove, { id: `fault-remove-${id}`, 'data-remove': id, 'aria-label': `Remove ${description}` }));
  }

  function show(found, active) {
    const link = (params, n) => h('a', { href: ctx.href('requests', params) }, number(n));
    state.replaceChildren(...facts('data-state', [['now', 'Clock', dateTime(found.now)],
      ['events', 'Events', number(found.events)], ['requests', 'Requests', link({}, found.requests)],
      ['rejected', 'Rejected', link({ status: '4xx' }, found.rejected)],
      ['faults', 'Active faults', number(found.faults)], ['url', 'URL', found.url]]));
    refill(faults, active, (list) => (list.length ? list.map(showFault) :
      h('li', { class: 'muted' }, 'No faults: requests are served as usual.')));
    clear.disabled = active.length === 0;
    showProfile(found.profile);
  }

  const live = polling(container, REFRESH, async (signal) => {
    const get = (path) => ctx.api.get(`sandbox/${path}`, {}, signal);
    const [found, { faults: active }] = await Promise.all([get('state'), get('faults')]);
    show(found, active);
  });
  loadCatalogue();
  return live;
}
