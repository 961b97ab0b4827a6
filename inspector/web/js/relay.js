// The deliveries to each destination: how far they are, rejected events, and all attempts for one event.
import { badge, button, dateTime, h, mono, notice, number, plural, visible } from './dom.js';
import { cut, long } from './code.js';
import { confirm, facts, isIgnored, pager, polling, refill, stamp, tell, tr } from './widgets.js';

const TONES = { pending: 'info', parked: 'warn', dead: 'error', delivered: 'ok' };
const ACTIONS = { retry: ['Retry', /parked|dead|skipped/, 'will be sent again'],
  skip: ['Skip', /parked|dead/, 'skipped'] }; // name, states, result
const RATE = 2000; // milliseconds, at least, between two polls that make a rate

const when = (iso) => (iso ? dateTime(iso) : '–');
const reason = ({ status, code, field, message } = {}) => [status && `${status} `, code && h('b', {}, cut(code, 200)),
  field && [' ', mono(cut(field, 200))], message && [code || field ? ': ' : '', long(message, 300)]];

export function mount(container, ctx) {
  let params = {};
  const rates = new Map(); // by destination, what the last poll saw: {count, at, text}
  const $ = stamp(container, 'relay');
  const [list, form, table, detail, result] = ['list', 'form', 'table', 'detail', 'result']
    .map((id) => $(`relay-${id}`));
  const { destination, state, code } = form.elements;
  const pages = pager($, 'relay', () => live.update());
  const filter = () => ({ destination: destination.value, state: state.value, code: code.value.trim() });
  $('relay-view-only').hidden = ctx.session.may_resolve;
  form.addEventListener('submit', (event) => event.preventDefault());
  form.addEventListener('change', () => ctx.setParams(filter()));
  for (const action of Object.keys(ACTIONS)) confirm($(`relay-${action}-box`), () => resolve({ ...filter(), action }));
  async function resolve({ code: wanted, ...body }) {
    try {
      const { changed } = await ctx.api.send('POST', 'relay/resolve', { ...body, code: wanted || undefined });
      tell(result, 'ok', `${plural(changed, 'event')} ${ACTIONS[body.action][2]}.`);
    } catch (error) {
      if (!isIgnored(error)) tell(result, 'error', `Failed: ${error.message}`);
    }
    await live.update();
    if (document.activeElement === document.body) result.focus();
  }
  // buttons have different ids in the list, which has one destination, and below an event.
  const buttons = (to, { event_id: id, state: now }) => ctx.session.may_resolve && Object.entries(ACTIONS)
    .filter(([, [, applies]]) => applies.test(now)).map(([action, [name]]) =>
      button(name, () => resolve({ destination: to, action, event_ids: [id] }),
        { id: `${action}-${detail.hidden ? '' : to}-${id}`, 'data-action': action, 'aria-label': `${name} ${id}` }));
  function rate({ destination: of, delivered, repeated }) {
    const [count, at, last] = [delivered + repeated, performance.now(), rates.get(of)];
    if (last && at - last.at < RATE) return last.text;
    const text = last ? `${number((count - last.count) / (at - last.at) * 1000)} per second` : '–';
    rates.set(of, { count, at, text });
    return text;
  }
  function showStream([s, speed]) {
    const link = (name) => h('a', { id: `relay-${name}-${s.destination}`, href: ctx.href('relay',
      { destination: s.destination, state: name }) }, number(s[name]));
    const [tone, text] = s.retired_at ? ['none', 'retired'] : s.failure ? ['error', 'down'] : ['ok', 'up'];
    return h('section', { class: 'card stack', 'data-destination': s.destination },
      h('div', { class: 'spread' }, h('h2', { class: 'mono' }, s.destination), badge(tone, text)),
      s.failure && notice('error', 'Down since ', when(s.failing_since), ': ', long(s.failure, 500)),
      s.retired_at && notice('warn', `Retired by ${s.retired_by}, `, when(s.retired_at)),
      h('dl', { class: 'sums' }, facts('data-stream', [['rate', 'Rate', speed],
        ['lag', 'Lag', s.lag < 0 ? 'unknown' : plural(s.lag, 'event')], ['oldest', 'Oldest event', when(s.oldest_pending)],
        ['position', 'Position', s.last_event_id ? mono(s.last_event_id) : 'the beginning'],
        ['saved_at', 'Last progress', when(s.saved_at)], ['delivered', 'Delivered', number(s.delivered)],
        ['repeated', 'Repeated', number(s.repeated)], ['parked', 'Parked', link('parked')],
        ['dead', 'Dead', link('dead')], ['skipped', 'Skipped', link('skipped')]])));
  }
  const row = (entry) => tr(table, { 'data-id': entry.event_id }, [
    h('a', { id: `relay-${entry.event_id}`, class: 'mono', href: ctx.href('relay', { ...filter(), id: entry.event_id }) },
      entry.event_id), badge(TONES[entry.state], entry.state), reason(entry.reason), number(entry.attempts),
    when(entry.since), when(entry.next_attempt), buttons(destination.value, entry)]);
  const showEntry = ([to, { history = [], ...entry }]) => h('section', { class: 'card stack' },
    h('div', { class: 'spread' }, h('h2', { class: 'mono' }, to),
      h('div', { class: 'group' }, badge(TONES[entry.state], entry.state), buttons(to, entry))),
    h('p', { class: 'muted' }, history.length ? plural(entry.attempts, 'attempt') : 'No attempt failed.',
      entry.next_attempt && [', next: ', dateTime(entry.next_attempt)]),
    h('ol', { class: 'log' }, history.map(({ at, outcome, by, reason: why }) =>
      h('li', {}, dateTime(at), h('b', {}, outcome), h('span', {}, reason(why), by && `by ${by}`)))));
  const live = polling(container, async (signal) => {
    const get = (query) => ctx.api.get('relay/entries', query, signal);
    const { streams } = await ctx.api.get('relay/status', {}, signal);
    const names = streams.map((stream) => stream.destination);
    if (params.id) {
      const found = await Promise.all(names.map((to) => get({ destination: to, event_id: params.id })));
      const all = found.map(({ entries: [entry] }, i) => [names[i], entry]);
      return refill($('relay-entries'), all, () => all.map(showEntry));
    }
    refill($('relay-streams'), streams.map((stream) => [stream, rate(stream)]), (all) => all.map(showStream));
    refill(destination, names, () => names.map((name) => h('option', {}, name)));
    destination.value = names.includes(params.destination) ? params.destination : names[0];
    const { entries, next } = names.length ? await get({ ...filter(), after: pages.after, limit: 50 }) : { entries: [] };
    refill(table.tBodies[0], entries, () => entries.map(row));
    pages.show(next);
    table.hidden = entries.length === 0;
    for (const [action, [, applies]] of Object.entries(ACTIONS)) {
      $(`relay-${action}-all`).disabled = !ctx.session.may_resolve || !entries.length || !applies.test(state.value);
    }
  });
  function update({ id = '', ...wanted }) {
    if (id !== params.id) refill($('relay-entries'), id, () => []);
    if (JSON.stringify(wanted) !== JSON.stringify(params.filter)) pages.cursors = [];
    params = { id, filter: wanted, ...wanted };
    state.value = wanted.state ?? 'dead';
    state.value ||= 'dead';
    code.value = wanted.code ?? '';
    list.hidden = !(detail.hidden = !id);
    $('relay-id').textContent = visible(id);
    $('relay-event').href = ctx.href('events', { id });
    $('relay-back').href = ctx.href('relay', wanted);
    return live.update();
  }
  return { update, unmount: live.unmount };
}
