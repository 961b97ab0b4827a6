// The switches of the test server: faults, clock, data, and the vendor's quirks.

import { h, notice, number, plural, time } from './dom.js';
import { button, facts, input, refill, showError, values } from './widgets.js';

export const title = 'Sandbox';

const REFRESH = 3000; // milliseconds
const HOW = [['next', 'The next requests'], ['for', 'For a time'], ['probability', 'At random'], ['quota', 'Above a quota']];
const TYPES = [['status', 'Error status'], ['reset', 'Cut the connection'], ['delay', 'Delay'], ['slow_body', 'Slow response'],
  ['truncated', 'Response cut off'], ['malformed', 'Response is not JSON'], ['store_error', 'Error of the store']];
const ERRORS = ['not_stored', 'outcome_unknown', 'overloaded', 'closed'].map((name) => [name, name.replace('_', ' ')]);
const ROUTES = [['', 'Any'], ...['charge-data', 'charge-datas', 'charge-data/{id}', 'charge-data list'].map((r) => [r, r])];

const how = (...names) => (v) => names.includes(v.how);
const fault = (...types) => (v) => v.how !== 'quota' && types.includes(v['fault.type']);
const anyFault = (v) => v.how !== 'quota';

// FAULT is the form as sections of [name, label, control, when]; names are those of the API's body but for "how".
const FAULT = [
  ['How often', [
    ['how', 'Requests', { options: HOW }],
    ['next', 'How many', { value: '1', inputmode: 'numeric' }, how('next')],
    ['for', 'Duration', { value: '30s' }, how('for')],
    ['probability', 'Probability', { value: '0.5', inputmode: 'decimal' }, how('probability')],
    ['seed', 'Seed', { value: '1', inputmode: 'numeric' }, how('probability')],
    ['quota.requests', 'Requests allowed', { value: '10', inputmode: 'numeric' }, how('quota')],
    ['quota.window', 'In each', { value: '1s' }, how('quota')]]],
  ['What happens', [
    ['fault.type', 'Fault', { options: TYPES }, anyFault],
    ['fault.status', 'Status', { value: '503', inputmode: 'numeric' }, fault('status')],
    ['fault.retry_after', 'Retry-After', { placeholder: '2s' }, fault('status')],
    ['fault.code', 'Code', { placeholder: 'of the status' }, fault('status')],
    ['fault.message', 'Message', {}, fault('status')],
    ['fault.field', 'Field', { placeholder: 'value.number' }, fault('status')],
    ['fault.duration', 'Duration', { value: '2s' }, fault('slow_body')],
    ['fault.error', 'Error', { options: ERRORS }, fault('store_error')],
    ['fault.delay', 'Delay before', { placeholder: '150ms' }, anyFault],
    ['fault.after_commit', 'After the commit: only the response is lost', { type: 'checkbox', value: 'true' },
      fault('status', 'reset', 'delay', 'store_error')]]],
  ['Only requests with', [
    ['match.reference', 'Reference'], ['match.customer', 'Customer id or reference'],
    ['match.route', 'Route', { options: ROUTES }], ['match.nth', 'Nth match', { inputmode: 'numeric', placeholder: '1' }],
    ['match.credential', 'Credential', { type: 'password', autocomplete: 'new-password' }],
    ['match.method', 'Method', { placeholder: 'POST' }], ['match.path', 'Path'], ['match.body', 'Text in the body']]],
];

// QUIRKS are the switches of the profile: [name, label, first values by field], those without a value are flags.
const QUIRKS = [
  ['min_reference_length', 'References have at least so many characters', { min_reference_length: '10' }],
  ['max_future_skew', 'Timestamps are ahead by at most', { max_future_skew: '30m' }],
  ['whole_seconds', 'Timestamps are in whole seconds', {}],
  ['max_batch_events', 'A batch has at most so many events', { max_batch_events: '50' }],
  ['return_original', 'A repeated reference gets the original event', {}],
  ['catalogue', 'What is not in the catalogue gets a 404', {}],
  ['rate_limit', 'Requests allowed in each period, then 429', { 'rate_limit.requests': '100', 'rate_limit.window': '1s' }],
];
const LISTS = ['customers', 'subscriptions', 'products'];

const typed = (text) => (text === 'true' || /^-?\d+(\.\d+)?$/.test(text) ? JSON.parse(text) : text);

// nested turns [['match.nth', '1']] into {match: {nth: 1}}. Texts that the server compares stay texts.
function nested(pairs) {
  const body = {};
  for (const [name, text] of pairs) {
    const [outer, inner] = name.split('.');
    const value = name.startsWith('match.') && inner !== 'nth' || ['fault.code', 'fault.message'].includes(name) ? text : typed(text);
    if (inner) (body[outer] ??= {})[inner] = value;
    else body[outer] = value;
  }
  return body;
}

// confirming is a button that asks in place.
function confirming(id, label, question, action) {
  const ask = button(label, () => { box.replaceChildren(h('span', {}, question), yes, no); no.focus(); }, { id, class: 'danger' });
  const back = () => { box.replaceChildren(ask); ask.focus(); };
  const yes = button(label, () => { back(); action(); }, { id: `${id}-yes`, class: 'danger' });
  const no = button('Cancel', back, { id: `${id}-no` });
  const box = h('span', { class: 'group', onkeydown: (event) => event.key === 'Escape' && back() }, ask);
  return box;
}

function faultForm(submit) {
  const boxes = new Map();
  const form = h('form', { id: 'fault-form', class: 'stack', onsubmit: submit }, FAULT.map(([legend, fields]) =>
    h('fieldset', {}, h('legend', {}, legend), h('div', { class: 'form' }, fields.map(([name, label, control, when]) => {
      const box = input('fault', name, label, control);
      if (when) boxes.set(box, when);
      return box;
    })))), h('div', { class: 'group' }, button('Add fault', null, { class: 'primary', id: 'fault-add' })));
  const choose = () => {
    const now = { how: form.elements.how.value, 'fault.type': form.elements['fault.type'].value };
    for (const [box, when] of boxes) {
      box.hidden = !when(now);
      box.querySelector('[name]').disabled = box.hidden;
    }
  };
  form.addEventListener('change', choose);
  choose();
  return form;
}

function quirk([name, label, fields]) {
  const names = Object.keys(fields);
  return h('div', { class: 'quirk' },
    h('label', { class: 'check' }, h('input', { type: 'checkbox', 'data-quirk': name, name: names.length ? null : name }),
      h('span', {}, label, h('code', { class: 'mono muted' }, name))),
    names.map((field) => h('input', { name: field, value: fields[field], 'aria-label': field, size: 6, autocomplete: 'off' })),
    (names.length ? names : [name]).map((field) => h('p', { class: 'field-error', 'data-error': field })));
}

export function mount(container, ctx) {
  let timer;
  const send = (method, path, body) => ctx.api.send(method, `sandbox/${path}`, body);
  const result = h('p', { id: 'sandbox-result', class: 'result', role: 'status' });
  const state = h('dl', { id: 'sandbox-state', class: 'tiles' });
  const faults = h('ul', { id: 'fault-list', class: 'faults' });
  const form = faultForm(addFault);
  const advance = h('form', { id: 'advance-form', class: 'open', onsubmit: (event) => setClock(event, advance) },
    input('advance', 'advance', 'Advance by', { value: '1h' }), button('Advance'));
  const set = h('form', { id: 'set-form', class: 'open', onsubmit: (event) => setClock(event, set) },
    input('set', 'set', `Set to (${ZONE})`, { type: 'datetime-local', step: 1, required: true }), button('Set'));
  const seed = h('form', { id: 'seed-form', class: 'open', onsubmit: addSamples },
    input('seed', 'samples', 'Sample events', { value: '3', inputmode: 'numeric' }), button('Store'));
  const profile = h('form', { id: 'profile-form', onchange: switchQuirk, onsubmit: (event) => event.preventDefault() },
    QUIRKS.map(quirk));
  const catalogue = h('form', { id: 'catalogue-form', class: 'stack', onsubmit: saveCatalogue },
    LISTS.map((name) => input('catalogue', name, `${name[0].toUpperCase()}${name.slice(1)}`, { tag: 'textarea', rows: 3 })),
    h('div', {}, button('Save catalogue', null, { id: 'catalogue-save' })));
  const clear = button('Remove all', () => act(null, async () => {
    await send('DELETE', 'faults');
    return 'All faults are removed.';
  }), { id: 'fault-clear' });
  const card = (heading, ...children) => h('section', { class: 'card stack' }, h('h2', {}, heading), ...children);
  container.append(h('div', { class: 'stack' }, state, h('div', { class: 'columns' },
    h('section', { class: 'card stack' }, h('div', { class: 'spread' }, h('h2', {}, 'Faults'), clear), faults, form),
    h('div', { class: 'stack' }, card('Clock and data', advance, set, seed, h('div', { class: 'group' },
      confirming('sandbox-restart', 'Restart', 'Really cut all connections?', () => act(null, async () => {
        await send('POST', 'restart', {});
        return 'The server restarted.';
      })),
      confirming('sandbox-reset', 'Reset', 'Really delete all events, faults and requests?', () => act(null, async () => {
        await send('POST', 'reset', {});
        await loadCatalogue();
        return 'The server is as new.';
      })))),
    card('Vendor profile', h('p', { class: 'muted' }, 'Each switch takes effect at once.'), profile),
    card('Catalogue', h('p', { class: 'muted' }, 'Ids or references, one in a line.'), catalogue))), result));

  function tell(tone, text) {
    result.dataset.tone = tone;
    result.textContent = visible(text);
  }

  // act runs an action and shows what came of it, an error next to the field of form that it names.
  async function act(form, action) {
    if (form) showError(form);
    try {
      tell('ok', await action());
    } catch (error) {
      if (error.status === 401) return;
      if (form && showError(form, error)) tell('error', 'Not done: correct the marked field.');
      else tell('error', `Not done: ${error.message}`);
    }
    refresh();
  }

  function addFault(event) {
    event.preventDefault();
    const pairs = Object.entries(values(form)).filter(([name]) => name !== 'how');
    act(form, async () => `Added: ${(await send('POST', 'faults', nested(pairs))).description}`);
  }

  function setClock(event, from) {
    event.preventDefault();
    const body = values(from);
    if (body.set) body.set = withOffset(body.set);
    act(from, async () => `The clock shows ${(await send('POST', 'clock', body)).now}.`);
  }

  function addSamples(event) {
    event.preventDefault();
    act(seed, async () => {
      const stored = await send('POST', 'events', nested(Object.entries(values(seed))));
      return `Stored ${plural(stored.charge_datas.length, 'event')}.`;
    });
  }

  function switchQuirk(event) {
    const row = event.target.closest('.quirk');
    const { quirk: name } = row.querySelector('[data-quirk]').dataset;
    const on = row.querySelector('[data-quirk]').checked;
    if (!on && !event.target.dataset.quirk) return;
    const fields = [...row.querySelectorAll('input[name]:not([type=checkbox])')].map((field) => [field.name, field.value.trim()]);
    const body = on && fields.length ? nested(fields) : { [name]: fields.length ? null : on };
    act(profile, async () => {
      await send('PATCH', 'profile', body);
      return `${name} is ${on ? 'on' : 'off'}.`;
    });
  }

  function saveCatalogue(event) {
    event.preventDefault();
    const lists = LISTS.map((name) => [name, catalogue.elements[name].value.split('\n').map((l) => l.trim()).filter(Boolean)]);
    act(catalogue, async () => {
      await send('PUT', 'catalogue', Object.fromEntries(lists));
      return 'The catalogue is saved.';
    });
  }

  async function loadCatalogue() {
    const found = await ctx.api.get('sandbox/catalogue');
    for (const name of LISTS) catalogue.elements[name].value = found[name].join('\n');
  }

  function showProfile(found) {
    for (const [name, , fields] of QUIRKS) {
      const flag = profile.querySelector(`[data-quirk=${name}]`);
      flag.checked = !!found[name];
      for (const field of flag.checked ? Object.keys(fields) : []) {
        const control = profile.elements[field];
        const value = String(found[name][field.split('.')[1]] ?? found[name]);
        if (control !== document.activeElement) control.value = value;
      }
    }
  }

  function showFault({ id, description, hits, left, until }) {
    const remove = () => act(null, async () => {
      await send('DELETE', `faults/${id}`);
      return `Removed: ${description}`;
    });
    return h('li', { 'data-fault': id }, h('code', { class: 'mono' }, description),
      h('span', { class: 'muted' }, h('span', { 'data-hits': hits }, plural(hits, 'hit')), left ? `, ${number(left)} left` : '',
        until ? [', until ', time(until)] : ''),
      button('Remove', remove, { id: `fault-remove-${id}`, 'data-remove': id, 'aria-label': `Remove ${description}` }));
  }

  function show(found, active) {
    const link = (params, n) => h('a', { href: ctx.href('requests', params) }, number(n));
    state.replaceChildren(...[['now', 'Clock', dateTime(found.now)], ['events', 'Events', number(found.events)],
      ['requests', 'Requests', link({}, found.requests)], ['rejected', 'Rejected', link({ status: '4xx' }, found.rejected)],
      ['faults', 'Active faults', number(found.faults)], ['url', 'URL', h('span', { class: 'mono' }, found.url)]]
      .map(([key, name, value]) => h('div', { class: 'tile' }, h('dt', {}, name), h('dd', { 'data-state': key }, value))));
    refill(faults, active, (list) => (list.length ? list.map(showFault) :
      h('li', { class: 'muted' }, 'None: requests are served as usual.')));
    clear.disabled = active.length === 0;
    showProfile(found.profile);
  }

  async function refresh() {
    clearTimeout(timer);
    timer = undefined;
    if (document.hidden) return;
    const mine = timer = setTimeout(refresh, REFRESH);
    try {
      const [found, active] = await Promise.all([ctx.api.get('sandbox/state'), ctx.api.get('sandbox/faults')]);
      if (timer === mine) show(found, active.faults);
    } catch (error) {
      if (timer === mine && error.status !== 401) tell('error', error.message);
    }
  }

  document.addEventListener('visibilitychange', refresh);
  loadCatalogue().catch((error) => error.status !== 401 && tell('error', error.message));
  return {
    update: refresh,
    unmount() {
      clearTimeout(timer);
      timer = null;
      document.removeEventListener('visibilitychange', refresh);
    },
  };
}
