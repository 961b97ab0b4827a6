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
const LISTS = ['customers', 'subscriptions', 'products'];
const whole = (value) => ({ inputmode: 'numeric', value });
const local = { type: 'datetime-local', step: 1, required: true };

// The form for a fault: sections of [name in the API, label, control].
const FAULT = [['Which requests', [
  ['how', 'Requests', { options: HOW }], ['next', 'How many', whole('1')], ['for', 'Duration', { value: '30s' }],
  ['probability', 'Probability', whole('0.5')], ['seed', 'Seed', whole('1')],
  ['quota.requests', 'Requests allowed', whole('10')], ['quota.window', 'In each', { value: '1s' }]]],
['What happens to them', [
  ['fault.type', 'Fault', { options: TYPES }], ['fault.status', 'Status', whole('503')],
  ['fault.retry_after', 'Retry-After', { placeholder: '2s' }], ['fault.code', 'Code'], ['fault.message', 'Message'],
  ['fault.field', 'Field', { placeholder: 'value.number' }], ['fault.duration', 'Duration', { value: '2s' }],
  ['fault.error', 'Error', { options: ERRORS }], ['fault.delay', 'Delay', { placeholder: '150ms' }],
  ['fault.after_commit', 'After the commit: events are stored', { type: 'checkbox' }]]],
['Only requests with', [
  ['match.reference', 'Reference'], ['match.customer', 'Customer'], ['match.route', 'Route', { options: ROUTES }],
  ['match.nth', 'Nth match', whole('')], ['match.method', 'Method', { placeholder: 'POST' }], ['match.path', 'Path'],
  ['match.credential', 'Credential', { type: 'password', autocomplete: 'new-password' }],
  ['match.body', 'Text in the body']]]];

// APPLIES lists the fields that depend on the choices in the fields how and fault.type.
const APPLIES = {
  next: ['next'], for: ['for'], probability: ['probability', 'seed'], quota: ['quota.requests', 'quota.window'],
  status: ['status', 'retry_after', 'code', 'message', 'field', 'after_commit'], reset: ['after_commit'],
  delay: ['after_commit'], slow_body: ['duration'], store_error: ['error', 'after_commit'],
  truncated: [], malformed: [],
};

function applies(name, form) {
  if (name === 'how' || name.startsWith('match.')) return true;
  if (!name.startsWith('fault.')) return APPLIES[form.how.value].includes(name);
  const ofType = ['type', 'delay', ...APPLIES[form['fault.type'].value]];
  return form.how.value !== 'quota' && ofType.includes(name.slice('fault.'.length));
}

// The switches of the profile: [name, label, first values by field]; those without a value are flags.
const QUIRKS = [
  ['min_reference_length', 'Minimum length of references', { min_reference_length: '10' }],
  ['max_future_skew', 'Timestamps at most this far ahead', { max_future_skew: '30m' }],
  ['whole_seconds', 'Timestamps in whole seconds only', {}],
  ['max_batch_events', 'Maximum number of events in a batch', { max_batch_events: '50' }],
  ['return_original', 'A repeated reference returns the original event', {}],
  ['catalogue', 'Customers, subscriptions and products of the catalogue only', {}],
  ['rate_limit', 'Rate limit: requests in each period', { 'rate_limit.requests': '100', 'rate_limit.window': '1s' }]];
const isOn = (value) => !!value && value !== '0s';

// CALLS are the calls of the forms: method, path, the result as text.
const clockText = (clock) => `The clock shows ${clock.now}.`;
const CALLS = {
  'fault-form': ['POST', 'faults', (added) => `Added: ${added.description}`],
  'advance-form': ['POST', 'clock', clockText], 'set-form': ['POST', 'clock', clockText],
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
  for (const control of [...controls].filter(({ name, disabled }) => name && name !== 'how' && !disabled)) {
    const [outer, inner] = control.name.split('.');
    const value = read(control);
    if (inner && value !== undefined) (body[outer] ??= {})[inner] = value;
    else if (value !== undefined) body[outer] = value;
  }
  return body;
}

// confirming is a button that asks in place.
function confirming(id, label, question, action) {
  const back = () => { box.replaceChildren(ask); ask.focus(); };
  const ask = button(label, () => { box.replaceChildren(question, yes, no); no.focus(); }, { id, class: 'danger' });
  const yes = button(label, () => { back(); action(); }, { id: `${id}-yes`, class: 'danger' });
  const no = button('Cancel', back, { id: `${id}-no` });
  const box = h('div', { class: 'group', onkeydown: (event) => event.key === 'Escape' && back() }, ask);
  return box;
}

function faultForm() {
  const form = h('form', { id: 'fault-form', class: 'stack', onchange: choose }, FAULT.map(([legend, list]) =>
    h('fieldset', {}, h('legend', {}, legend), h('div', { class: 'form' }, list.map((one) => input('fault', ...one))))),
  h('div', {}, button('Add fault', null, { id: 'fault-add', class: 'primary' })));
  function choose() {
    for (const [name] of FAULT.flatMap(([, list]) => list)) {
      const control = form.elements[name];
      control.disabled = control.closest('.field').hidden = !applies(name, form.elements);
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
      inputmode: Number(value) ? 'numeric' : null })),
    (fields.length ? fields : [[name]]).map(([field]) => h('p', { class: 'field-error', 'data-error': field })));
}

export function mount(container, ctx) {
  const card = (heading, ...children) => h('section', { class: 'card stack' }, h('h2', {}, heading), ...children);
  const small = (id, verb, ...of) => h('form', { id: `${id}-form`, class: 'small' }, input(id, ...of), button(verb));
  const state = h('dl', { id: 'sandbox-state', class: 'tiles' });
  const faults = h('ul', { id: 'fault-list', class: 'faults' });
  const clear = button('Remove all', () => act(null, 'DELETE', 'faults', () => 'All faults are removed.'),
    { id: 'fault-clear' });
  const profile = h('form', { id: 'profile-form', onchange: switchQuirk }, QUIRKS.map(quirk));
  const save = button('Save catalogue', null, { id: 'catalogue-save', disabled: true });
  const catalogue = h('form', { id: 'catalogue-form', class: 'stack' }, h('div', { class: 'form' }, LISTS.map((name) =>
    input('catalogue', name, name, { tag: 'textarea', rows: 4 }))), h('div', {}, save));
  const tell = (tone, text) => { result.dataset.tone = tone; result.textContent = visible(text); };
  const result = h('p', { id: 'sandbox-result', class: 'result', role: 'status' });
  container.append(h('div', { class: 'stack' }, state, h('div', { class: 'columns' },
    card('Faults', faults, h('div', {}, clear), faultForm()), h('div', { class: 'stack' }, card('Clock and data',
      small('advance', 'Advance', 'advance', 'Advance the clock by', { value: '1h' }),
      small('set', 'Set', 'set', `Set the clock to (${ZONE})`, local),
      small('seed', 'Store', 'samples', 'Sample events', whole('3')), h('div', { class: 'group' },
        confirming('sandbox-restart', 'Restart', 'Really cut all connections?', () =>
          act(null, 'POST', 'restart', () => 'The server restarted.', {})),
        confirming('sandbox-reset', 'Reset', 'Really delete all events and faults?', () =>
          act(null, 'POST', 'reset', () => 'The server is as new.', {})))),
    card('Vendor profile', profile))), card('Catalogue', catalogue)), result);
  container.addEventListener('submit', (event) => {
    event.preventDefault();
    const form = event.target;
    if (CALLS[form.id]) act(form, ...CALLS[form.id], nested(form.elements));
  });

  // act makes a call and shows its result, or its error next to the field of a form that it names.
  async function act(form, method, path, text, body) {
    if (form) showError(form);
    try {
      tell('ok', text(await ctx.api.send(method, `sandbox/${path}`, body)));
    } catch (error) {
      if (isIgnored(error)) return;
      tell('error', `Not done: ${form && showError(form, error) ? 'see the marked field.' : error.message}`);
    }
    live.update();
  }

  function switchQuirk({ target }) {
    const row = target.closest('.quirk');
    const flag = row.querySelector('[data-quirk]');
    if (target !== flag && !flag.checked) return;
    const { quirk: name } = flag.dataset;
    const inputs = row.querySelectorAll('input:not([type=checkbox])');
    const body = flag.checked && inputs.length ? nested(inputs) : { [name]: inputs.length ? null : flag.checked };
    act(profile, 'PATCH', 'profile', (now) => `${name} is ${isOn(now[name]) ? 'on' : 'off'}.`, body);
  }

  function showProfile(found) {
    for (const [name, , fields] of QUIRKS) {
      const on = profile.querySelector(`[data-quirk=${name}]`).checked = isOn(found[name]);
      for (const control of on ? Object.keys(fields).map((field) => profile.elements[field]) : []) {
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

  const link = (id, n, params) => h('a', { id, href: ctx.href('requests', params) }, number(n));
  const live = polling(container, REFRESH, async (signal) => {
    const get = (path) => ctx.api.get(`sandbox/${path}`, {}, signal);
    const [found, { faults: active }, lists] = await Promise.all(['state', 'faults', 'catalogue'].map(get));
    refill(state, found, () => facts('data-state', [['now', 'Clock', dateTime(found.now)],
      ['events', 'Events', number(found.events)], ['requests', 'Requests', link('sandbox-all', found.requests)],
      ['rejected', 'Rejected', link('sandbox-4xx', found.rejected, { status: '4xx' })],
      ['faults', 'Active faults', number(found.faults)], ['url', 'URL', found.url]]));
    refill(faults, active, (list) => (list.length ? list.map(showFault) :
      h('li', { class: 'muted' }, 'No faults: requests are served as usual.')));
    clear.disabled = active.length === 0;
    showProfile(found.profile);
    for (const name of JSON.stringify(lists) === catalogue.dataset.shown ? [] : LISTS) {
      catalogue.elements[name].value = lists[name].join('\n');
    }
    catalogue.dataset.shown = JSON.stringify(lists); // what is typed stays until the server has other lists
    save.disabled = false;
  });
  return live;
}
