// The switches of the test server: faults, clock, data, and the vendor's quirks.
import { button, dateTime, faint, h, number, plural, time } from './dom.js';
import { confirm, facts, isIgnored, polling, refill, showError, stamp, tell, toUTC } from './widgets.js';

const isOn = (value) => !!value && value !== '0s';

// read returns the API's value of a control, undefined if there is none. The server rejects a text for a number.
function read({ value, type, checked, inputMode }) {
  const text = value.trim();
  if (type === 'checkbox') return checked || undefined;
  if (type === 'textarea') return text.split(/\s*\n\s*/).filter(Boolean);
  if (type === 'datetime-local' && text) return toUTC(text);
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

// choose shows the fields of the form for a fault that apply: data-for lists choices of "how" or "fault.type".
function choose(form) {
  const { how: { value: how }, 'fault.type': { value: type } } = form.elements;
  for (const control of [...form.elements].filter(({ name }) => name)) {
    const isFault = control.name.startsWith('fault.');
    const box = control.closest('.field');
    box.hidden = isFault && how === 'quota' || box.dataset.for?.split(' ').includes(isFault ? type : how) === false;
    control.disabled = box.hidden;
  }
}

const inputs = (row) => [...row.querySelectorAll('input:not([type=checkbox])')];

export function mount(container, ctx) {
  const $ = stamp(container, 'sandbox');
  const [form, profile, catalogue, result] = ['fault-form', 'profile-form', 'catalogue-form', 'sandbox-result'].map($);
  choose(form);
  form.addEventListener('change', () => choose(form));
  profile.addEventListener('change', switchQuirk);
  $('fault-clear').addEventListener('click', () => act(null, 'DELETE', 'faults', () => 'All faults are removed.'));
  confirm($('restart-box'), () => act(null, 'POST', 'restart', () => 'The server restarted.', {}));
  confirm($('reset-box'), () => act(null, 'POST', 'reset', () => 'The initial state is restored.', {}));
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
    if (of) showError(of);
    try {
      tell(result, 'ok', text(await ctx.api.send(method, `sandbox/${path}`, body)));
    } catch (error) {
      if (isIgnored(error)) return;
      tell(result, 'error', `Failed: ${of && showError(of, error) ? 'see the marked field.' : error.message}`);
    }
    live.update();
  }
  function switchQuirk({ target }) {
    const row = target.closest('.quirk');
    const { checked, dataset: { quirk: name } } = row.querySelector('[data-quirk]');
    if (target.type !== 'checkbox' && !checked) return;
    const fields = inputs(row);
    const body = checked && fields.length ? nested(fields) : { [name]: fields.length ? null : checked };
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
    for (const flag of profile.querySelectorAll('[data-quirk]')) {
      const value = found[flag.dataset.quirk];
      flag.checked = isOn(value);
      for (const control of flag.checked ? inputs(flag.closest('.quirk')) : []) {
        if (control !== document.activeElement) control.value = value[control.name.split('.')[1]] ?? value;
      }
    }
  }
  const link = (id, n, params) => h('a', { id, href: ctx.href('requests', params) }, number(n));
  const live = polling(container, async (signal) => {
    const get = (path) => ctx.api.get(`sandbox/${path}`, {}, signal);
    const [found, { faults: active }, lists] = await Promise.all(['state', 'faults', 'catalogue'].map(get));
    refill($('sandbox-state'), found, () => facts('data-state', [['now', 'Clock', dateTime(found.now)],
      ['events', 'Events', number(found.events)], ['requests', 'Requests', link('sandbox-all', found.requests)],
      ['rejected', 'Rejected', link('sandbox-4xx', found.rejected, { status: '4xx' })],
      ['faults', 'Active faults', number(found.faults)], ['url', 'URL', found.url]]));
    refill($('fault-list'), active, (list) => (list.length ? list.map(showFault) :
      h('li', { class: 'muted' }, 'No faults: requests are served as usual.')));
    $('fault-clear').disabled = active.length === 0;
    showProfile(found.profile);
    const isNew = catalogue.dataset.shown !== JSON.stringify(lists); // what is typed stays until the server has others
    for (const area of isNew ? catalogue.querySelectorAll('textarea') : []) area.value = lists[area.name].join('\n');
    catalogue.dataset.shown = JSON.stringify(lists);
    catalogue.inert = false;
  });
  return live;
}
