// The switches of the test server: faults, clock, data, and the vendor's quirks.

import { button, dateTime, h, number, plural, time, visible } from './dom.js';
import { ZONE, facts, input, isIgnored, polling, refill, showError, withOffset } from './widgets.js';

export const title = 'Sandbox';

const HOW = [['next', 'The next'], ['for', 'For a time'], ['probability', 'At random'], ['quota', 'Above a quota']];
const TYPES = [['status', 'Error status'], ['reset', 'Connection cut'], ['delay', 'Delay'],
  ['slow_body', 'Slow response'], ['truncated', 'Response cut off'], ['malformed', 'Response not JSON'],
  ['store_error', 'Store error']];
const ERRORS = ['not_stored', 'outcome_unknown', 'overloaded', 'closed'].map((name) => [name, name.replace('_', ' ')]);
const ROUTES = ['', 'charge-data', 'charge-datas', 'charge-data/{id}', 'charge-data list'].map((r) => [r, r || 'any']);
const LISTS = ['customers', 'subscriptions', 'products'];
const whole = (value) => ({ inputmode: 'numeric', value });

// The form for a fault: sections of [name in the API, label, control, choices of "how" or "fault.type" it applies to].
const FAULT = [['Which requests', [
  ['how', 'Requests', { options: HOW }], ['next', 'How many', whole('1'), 'next'],
  ['for', 'Duration', { value: '30s' }, 'for'], ['probability', 'Probability', whole('0.5'), 'probability'],
  ['seed', 'Seed', whole('1'), 'probability'], ['quota.requests', 'Requests allowed', whole('10'), 'quota'],
  ['quota.window', 'In each', { value: '1s' }, 'quota']]],
['What happens to them', [
  ['fault.type', 'Fault', { options: TYPES }], ['fault.status', 'Status', whole('503'), 'status'],
  ['fault.retry_after', 'Retry-After', { placeholder: '2s' }, 'status'], ['fault.code', 'Code', {}, 'status'],
  ['fault.message', 'Message', {}, 'status'], ['fault.field', 'Field', { placeholder: 'value.number' }, 'status'],
  ['fault.duration', 'Duration', { value: '2s' }, 'slow_body'],
  ['fault.error', 'Error', { options: ERRORS }, 'store_error'], ['fault.delay', 'Delay', { placeholder: '150ms' }],
  ['fault.after_commit', 'After the commit: events are stored', { type: 'checkbox' },
    'status reset delay store_error']]],
['Only requests with', [
  ['match.reference', 'Reference'], ['match.customer', 'Customer'], ['match.route', 'Route', { options: ROUTES }],
  ['match.nth', 'Nth match', whole('')], ['match.method', 'Method', { placeholder: 'POST' }], ['match.path', 'Path'],
  ['match.credential', 'Credential', { type: 'password', autocomplete: 'new-password' }],
  ['match.body', 'Text in the body']]]];

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
  const danger = { class: 'btn danger' };
  const ask = button(label, () => { box.replaceChildren(question, yes, no); no.focus(); }, { ...danger, id });
  const yes = button(label, () => { back(); action(); }, { ...danger, id: `${id}-yes` });
  const no = button('Cancel', back, { id: `${id}-no` });
  const box = h('div', { class: 'group', onkeydown: (event) => event.key === 'Escape' && back() }, ask);
  return box;
}

function faultForm() {
  const form = h('form', { id: 'fault-form', class: 'stack', onchange: choose }, FAULT.map(([legend, list]) =>
    h('fieldset', {}, h('legend', {}, legend), h('div', { class: 'form' }, list.map((one) => input('fault', ...one))))),
  h('div', {}, button('Add fault', null, { id: 'fault-add', class: 'btn primary', type: 'submit' })));
  function choose() {
    const { how: { value: how }, 'fault.type': { value: type } } = form.elements;
    for (const [name, , , choices] of FAULT.flatMap(([, list]) => list)) {
      const isFault = name.startsWith('fault.');
      const applies = (!choices || choices.split(' ').includes(isFault ? type : how)) && !(isFault && how === 'quota');
      form.elements[name].disabled = form.elements[name].closest('.field').hidden = !applies;
    }
  }
  choose();
  return form;
}

function quirk([name, label, first]) {
  const fields = Object.entries(first);
  const flag = h('input', { type: 'checkbox', 'data-quirk': name, name: fields.length ? null : name });
  return h('div', { class: 'quirk' }, h('label', { class: 'check' }, flag, h('span', {}, label, h('code', {}, name))),
    fields.map(([field, value]) => h('input', { ...(Number(value) ? whole(value) : { value }), name: field,
      'aria-label': field, autocomplete: 'off' })),
    (fields.length ? fields : [[name]]).map(([field]) => h('p', { class: 'field-error', 'data-error': field })));
}

export function mount(container, ctx) {
  const card = (heading, ...children) => h('section', { class: 'card stack' }, h('h2', {}, heading), ...children);
  const small = (id, label, ...of) => h('form', { id: `${id}-form`, class: 'small' }, input(id, ...of),
    button(label, null, { type: 'submit' }));
  const state = h('dl', { id: 'sandbox-state', class: 'tiles' });
  const faults = h('ul', { id: 'fault-list', class: 'faults' });
  const removeAll = () => act(null, 'DELETE', 'faults', () => 'All faults are removed.');
  const clear = button('Remove all', removeAll, { id: 'fault-clear' });
  const profile = h('form', { id: 'profile-form', onchange: switchQuirk }, QUIRKS.map(quirk));
  const save = button('Save catalogue', null, { id: 'catalogue-save', type: 'submit' });
  const catalogue = h('form', { id: 'catalogue-form', class: 'stack', inert: true }, h('div', { class: 'form' },
    LISTS.map((name) => input('catalogue', name, name, { tag: 'textarea', rows: 4 }))),
  h('div', {}, save));
  const restart = () => act(null, 'POST', 'restart', () => 'The server restarted.', {});
  const reset = () => act(null, 'POST', 'reset', () => 'The server is as new.', {});
  const result = h('p', { id: 'sandbox-result', class: 'result', role: 'status' });
  container.append(h('div', { class: 'stack' }, state, h('div', { class: 'columns' },
    card('Faults', faults, h('div', {}, clear), faultForm()), h('div', { class: 'stack' }, card('Clock and data',
      small('advance', 'Advance', 'advance', 'Advance the clock by', { value: '1h' }),
      small('set', 'Set', 'set', `Set the clock to (${ZONE})`, { type: 'datetime-local', step: 1, required: true }),
      small('seed', 'Store', 'samples', 'Sample events', whole('3')), h('div', { class: 'group' },
        confirming('sandbox-restart', 'Restart', 'Really cut all connections?', restart),
        confirming('sandbox-reset', 'Reset', 'Really delete all events and faults?', reset))),
    card('Vendor profile', profile))), card('Catalogue', catalogue)), result);

  const clock = ['POST', 'clock', ({ now }) => `The clock shows ${now}.`];
  const calls = { 'advance-form': clock, 'set-form': clock,
    'fault-form': ['POST', 'faults', ({ description }) => `Added: ${description}`],
    'seed-form': ['POST', 'events', (stored) => `Stored: ${plural(stored.charge_datas.length, 'event')}.`],
    'catalogue-form': ['PUT', 'catalogue', () => 'The catalogue is saved.'] };
  container.addEventListener('submit', (event) => {
    event.preventDefault();
    const { id, elements } = event.target;
    if (calls[id]) act(event.target, ...calls[id], nested(elements));
  });

  // act makes a call and shows its result, or its error next to the field of a form that it names.
  async function act(of, method, path, text, body) {
    const tell = (tone, shown) => { result.dataset.tone = tone; result.textContent = visible(shown); };
    if (of) showError(of);
    try {
      tell('ok', text(await ctx.api.send(method, `sandbox/${path}`, body)));
    } catch (error) {
      if (isIgnored(error)) return;
      tell('error', `Not done: ${of && showError(of, error) ? 'see the marked field.' : error.message}`);
    }
    live.update();
  }

  function switchQuirk({ target }) {
    const row = target.closest('.quirk');
    const { checked, dataset: { quirk: name } } = row.querySelector('[data-quirk]');
    if (target.type !== 'checkbox' && !checked) return;
    const inputs = row.querySelectorAll('input:not([type=checkbox])');
    const body = checked && inputs.length ? nested(inputs) : { [name]: inputs.length ? null : checked };
    act(profile, 'PATCH', 'profile', (now) => `${name} is ${isOn(now[name]) ? 'on' : 'off'}.`, body);
  }

  function showFault({ id, description, hits, left, until }) {
    const remove = () => act(null, 'DELETE', `faults/${id}`, () => `Removed: ${description}`);
    return h('li', { 'data-fault': id }, h('code', { class: 'mono' }, description),
      h('span', { class: 'muted', 'data-hits': hits }, plural(hits, 'hit'), left > 0 && ` · ${number(left)} left`,
        until && [' · until ', time(until)]),
      button('Remove', remove, { id: `fault-remove-${id}`, 'data-remove': id, 'aria-label': `Remove ${description}` }));
  }

  function showProfile(found) {
    for (const [name, , fields] of QUIRKS) {
      const on = profile.querySelector(`[data-quirk=${name}]`).checked = isOn(found[name]);
      for (const control of on ? Object.keys(fields).map((field) => profile.elements[field]) : []) {
        if (control !== document.activeElement) control.value = found[name][control.name.split('.')[1]] ?? found[name];
      }
    }
  }

  const link = (id, n, params) => h('a', { id, href: ctx.href('requests', params) }, number(n));
  const live = polling(container, async (signal) => {
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
    refill(catalogue.lastChild, lists, () => { // what is typed stays until the server has other lists
      for (const name of LISTS) catalogue.elements[name].value = lists[name].join('\n');
      catalogue.inert = false;
      return save;
    });
  });
  return live;
}
