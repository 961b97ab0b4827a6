// The last hour as a chart, errors by code and field, and the state of the store.
import { badge, bytes, duration, h, mono, number, plural, svg, time } from './dom.js';
import { facts, fill, polling, refill, stamp } from './widgets.js';

const HEIGHT = 160; // of the plot, in pixels; widths are percentages
const KINDS = [['accepted', 'Events accepted'], ['replayed', 'Events replayed'], ['rejected', 'Requests with an error']];
const MOVES = { ArrowLeft: -1, ArrowRight: 1, Home: -60, End: 60 };
const clock = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });
const at = (minute) => clock.format(new Date(minute.time));
const total = (minute) => minute.accepted + minute.replayed + minute.rejected;
const spoken = (counts) => KINDS.map(([kind, name]) => `${name.toLowerCase()} ${number(counts[kind])}`).join(', ');
const row = (cells, props) => h('tr', props, cells.map((cell, i) => h('td', { class: i ? 'num' : null }, cell)));

// ceiling is the top of the axis, whose half is a whole number: 2, 4, 6, 8, 10, 20, 40, …
function ceiling(max) {
  for (let unit = 1; ; unit *= 10) for (const step of [2, 4, 6, 8, 10]) if (step * unit >= max) return step * unit;
}

function bars(minutes, top) {
  return minutes.flatMap((minute, i) => {
    let y = HEIGHT;
    return KINDS.filter(([kind]) => minute[kind] > 0).map(([kind]) => {
      const height = minute[kind] / top * HEIGHT;
      y -= height;
      return svg('rect', { class: kind, 'data-kind': kind, 'data-minute': i, x: `${(i + .12) / .6}%`,
        width: `${.76 / .6}%`, y, height });
    });
  });
}

function axes(minutes, top) {
  const lines = [0, .5, 1].map((part) => svg('g', { transform: `translate(0 ${HEIGHT - part * HEIGHT})` },
    svg('line', { class: 'line', x2: '100%' }), svg('text', { class: 'end', x: -8, y: 4 }, number(part * top))));
  return [...lines, ...minutes.map((minute, i) => at(minute).match(/:(00|15|30|45)$/) &&
    svg('text', { x: `${(i + .5) / .6}%`, y: HEIGHT + 18 }, at(minute))).filter(Boolean)];
}

function storeFacts(store) {
  const { last_commit: commit, wal_blocked_since: blocked } = store;
  const when = (iso) => (iso ? time(iso) : '–');
  const amount = ({ requests, events }) => `${plural(requests, 'request')}, ${plural(events, 'event')}`;
  const last = [`${amount(commit)} in ${duration(commit.duration_ms)} `, commit.error && badge('error', 'failed')];
  return { queued: amount({ requests: store.queued_requests, events: store.queued_events }),
    commits: number(store.commits), last_commit: store.commits || commit.error ? last : '–',
    wal: bytes(store.wal_bytes), wal_blocked: blocked ? badge('warn', 'since ', time(blocked)) : 'no',
    last_checkpoint: when(store.last_checkpoint), database: bytes(store.database_bytes),
    disk_free: store.disk_free_bytes === null ? '–' : bytes(store.disk_free_bytes),
    newest_event: when(store.newest_event) };
}

export function mount(container, ctx) {
  let minutes = [];
  let selected = -1;
  const $ = stamp(container, 'overview');
  const [chart, readout, totals, store] = ['chart', 'readout', 'totals', 'store'].map((name) => $(`overview-${name}`));
  const band = svg('rect', { class: 'band', height: HEIGHT, width: `${1 / .6}%` });
  for (const type of ['pointermove', 'pointerdown', 'pointerleave', 'blur']) chart.addEventListener(type, point);
  chart.addEventListener('keydown', move);
  function select(i) {
    selected = i;
    band.toggleAttribute('hidden', !minutes[i]);
    band.setAttribute('x', `${i / .6}%`);
    const text = minutes[i] ? `${at(minutes[i])}: ${spoken(minutes[i])}` : chart.dataset.hint;
    if (readout.textContent !== text) readout.textContent = text;
  }
  function point(event) {
    const { left, width } = chart.getBoundingClientRect();
    select(/leave|blur/.test(event.type) ? -1 : Math.floor((event.clientX - left) / width * 60));
  }
  function move(event) {
    if (!MOVES[event.key]) return;
    event.preventDefault();
    select(Math.min(59, Math.max(0, (selected < 0 ? 60 : selected) + MOVES[event.key])));
  }
  function show(found) {
    minutes = found.minutes;
    const busiest = minutes.reduce((a, b) => (total(b) > total(a) ? b : a));
    const top = ceiling(total(busiest));
    const sums = Object.fromEntries(KINDS.map(([kind]) => [kind, minutes.reduce((n, minute) => n + minute[kind], 0)]));
    const most = total(busiest) ? `. Busiest minute, ${at(busiest)}: ${spoken(busiest)}` : '';
    chart.setAttribute('aria-label', `The last 60 minutes: ${spoken(sums)}${most}`);
    chart.replaceChildren(band, ...axes(minutes, top), ...bars(minutes, top));
    select(selected);
    const cells = (minute) => [at(minute), ...KINDS.map(([kind]) => number(minute[kind]))];
    refill($('overview-minutes'), minutes, () => minutes.map((minute) => row(cells(minute))));
    const { count, bytes: size } = found.requests;
    totals.replaceChildren(...facts('data-total', [...KINDS.map(([kind, name]) => [kind, name, number(sums[kind])]),
      ['recorded', 'Kept requests', number(count)], ['bytes', 'Memory for requests', bytes(size)]]));
    const refusals = (list) => (list.length ? list.map((found) => refusal(found)) : row(['None', '0']));
    refill($('overview-refusals').tBodies[0], found.refusals, refusals);
    store.hidden = !($('overview-no-store').hidden = !!found.store);
    fill(store, 'data-store', found.store ? storeFacts(found.store) : {});
  }
  const refusal = ({ code, field, count }) => row([[h('a', { id: `refusal-${code}-${field}`,
    href: ctx.href('requests', { code }) }, code), ' ', mono(field)], number(count)],
  { 'data-code': code, 'data-field': field });
  return polling(container, async (signal) => show(await ctx.api.get('api/overview', {}, signal)));
}
