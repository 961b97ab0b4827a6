// The last hour as a chart, why requests were rejected, and the state of the store.

import { bytes, duration, h, notice, number, plural, svg, time } from './dom.js';
import { facts } from './widgets.js';

export const title = 'Overview';

const REFRESH = 5000; // milliseconds
const HEIGHT = 160; // of the plot, in pixels; widths are percentages
const KINDS = [['accepted', 'Events accepted'], ['replayed', 'Events replayed'], ['rejected', 'Requests rejected']];
const MOVES = { ArrowLeft: (i) => i - 1, ArrowRight: (i) => i + 1, Home: () => 0, End: () => 59 };
const HINT = 'Point at a minute, or use the arrow keys in the chart.';
const hour = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });

const clock = (minute) => hour.format(new Date(minute.time));
const total = (minute) => minute.accepted + minute.replayed + minute.rejected;

// ceiling is the top of the axis: 2, 4, 10, 20, 40, 100, …
function ceiling(max) {
  for (let top = 2; ; top *= 10) for (const step of [top, 2 * top, 5 * top]) if (step >= max) return step;
}

function bars(minutes, top) {
  return minutes.flatMap((minute, i) => {
    let y = HEIGHT;
    return KINDS.map(([kind]) => {
      const height = minute[kind] / top * HEIGHT;
      y -= height;
      return height > 0 && svg('rect', { class: `bar ${kind}`, 'data-kind': kind, 'data-minute': i,
        x: `${(i + .12) / .6}%`, width: `${.76 / .6}%`, y, height: Math.max(height - .5, .5) });
    });
  });
}

function axes(minutes, top) {
  const lines = [0, top / 2, top].map((value) => [value, HEIGHT - value / top * HEIGHT]);
  return [
    ...lines.map(([, y]) => svg('line', { class: 'grid', x1: 0, x2: '100%', y1: y, y2: y })),
    ...lines.map(([value, y]) => svg('text', { class: 'axis end', x: -8, y: y + 4 }, number(value))),
    ...minutes.map((minute, i) => new Date(minute.time).getMinutes() % 15 === 0 &&
      svg('text', { class: 'axis middle', x: `${(i + .5) / .6}%`, y: HEIGHT + 18 }, clock(minute))),
  ];
}

function dataTable(minutes) {
  const names = ['Minute', ...KINDS.map(([, name]) => name)];
  return h('table', { class: 'table', 'aria-label': 'The last 60 minutes' },
    h('thead', {}, h('tr', {}, names.map((name, i) => h('th', { scope: 'col', class: i ? 'num' : null }, name)))),
    h('tbody', {}, minutes.map((minute) => h('tr', {}, h('th', { scope: 'row' }, clock(minute)),
      KINDS.map(([kind]) => h('td', { class: 'num' }, number(minute[kind])))))));
}

function storeFacts(store) {
  const batch = store.last_commit;
  return facts('data-store', [
    ['queued', 'Queue', `${plural(store.queued_requests, 'request')}, ${plural(store.queued_events, 'event')}`],
    ['commits', 'Commits', number(store.commits)],
    ['last_commit', 'Last commit', store.commits === 0 ? '–' : [`${plural(batch.requests, 'request')}, ` +
      `${plural(batch.events, 'event')} in ${duration(batch.duration_ms)} `,
    batch.error && h('span', { class: 'badge', 'data-tone': 'error' }, 'failed')]],
    ['wal', 'Write-ahead log', bytes(store.wal_bytes)],
    ['wal_blocked', 'WAL blocked', store.wal_blocked_since ? h('span', { class: 'badge', 'data-tone': 'warn' }, 'since ',
      time(store.wal_blocked_since)) : 'no'],
    ['last_checkpoint', 'Last checkpoint', store.last_checkpoint ? time(store.last_checkpoint) : '–'],
    ['database', 'Database', bytes(store.database_bytes)],
    ['disk_free', 'Free disk', store.disk_free_bytes === null ? '–' : bytes(store.disk_free_bytes)],
    ['newest_event', 'Newest event', store.newest_event ? time(store.newest_event) : '–'],
  ]);
}

export function mount(container, ctx) {
  let timer;
  let abort = new AbortController();
  let minutes = [];
  let selected = -1;

  const chart = svg('svg', { id: 'overview-chart', class: 'chart', role: 'img', tabindex: 0, height: HEIGHT + 24,
    'aria-label': 'Loading…', 'aria-describedby': 'overview-readout', onpointermove: point, onkeydown: move,
    onpointerleave: () => select(-1), onblur: () => select(-1) });
  const band = svg('rect', { class: 'band', y: 0, height: HEIGHT, width: `${1 / .6}%` });
  const readout = h('p', { id: 'overview-readout', class: 'muted', 'aria-live': 'polite' }, HINT);
  const legend = h('ul', { class: 'legend' }, KINDS.map(([kind, name]) => h('li', { class: kind }, name)));
  const data = h('details', { id: 'overview-data' }, h('summary', {}, 'Numbers of each minute'), h('div', { class: 'scroll' }));
  const totals = h('dl', { id: 'overview-totals', class: 'tiles' });
  const refusals = h('tbody');
  const store = h('div', { id: 'overview-store' });
  const failure = h('div', { id: 'overview-error' });
  container.append(h('div', { class: 'stack' }, failure, totals,
    h('section', { class: 'card stack', 'aria-labelledby': 'overview-hour' },
      h('div', { class: 'spread' }, h('h2', { id: 'overview-hour' }, 'The last 60 minutes'), legend), chart, readout, data),
    h('div', { class: 'columns' },
      h('section', { class: 'card' }, h('h2', {}, 'Rejections by code and field'),
        h('table', { id: 'overview-refusals', class: 'table' }, h('thead', {}, h('tr', {},
          ['Code', 'Field'].map((name) => h('th', { scope: 'col' }, name)), h('th', { scope: 'col', class: 'num' }, 'Count'))),
        refusals)),
      h('section', { class: 'card stack' }, h('h2', {}, 'Store'), store))));

  function select(i) {
    selected = i;
    const minute = minutes[i];
    band.toggleAttribute('hidden', !minute);
    if (minute) band.setAttribute('x', `${i / .6}%`);
    readout.textContent = minute ? `${clock(minute)}: ${KINDS.map(([kind, name]) =>
      `${name.toLowerCase()} ${number(minute[kind])}`).join(', ')}` : HINT;
  }

  function point(event) {
    const box = chart.getBoundingClientRect();
    select(Math.min(59, Math.max(0, Math.floor((event.clientX - box.left) / box.width * 60))));
  }

  function move(event) {
    const to = MOVES[event.key];
    if (!to) return;
    event.preventDefault();
    select(Math.min(59, Math.max(0, to(selected < 0 ? 60 : selected))));
  }

  function show(found) {
    minutes = found.minutes;
    const busiest = minutes.reduce((a, b) => (total(b) > total(a) ? b : a));
    const top = ceiling(total(busiest));
    const sums = KINDS.map(([kind, name]) => [kind, name, number(minutes.reduce((n, minute) => n + minute[kind], 0))]);
    chart.replaceChildren(band, ...axes(minutes, top).filter(Boolean), ...bars(minutes, top).filter(Boolean));
    chart.setAttribute('aria-label', `The last 60 minutes: ${sums.map(([, name, n]) => `${name.toLowerCase()} ${n}`).join(', ')}. ` +
      (total(busiest) ? `The busiest minute is ${clock(busiest)} with ${number(total(busiest))}.` : 'No requests.'));
    select(selected);
    data.lastChild.replaceChildren(dataTable(minutes));
    totals.replaceChildren(...[...sums, ['recorded', 'Requests kept', number(found.requests.count)],
      ['bytes', 'Memory for them', bytes(found.requests.bytes)]].map(([key, name, value]) =>
      h('div', { class: `tile ${key}` }, h('dt', {}, name), h('dd', { 'data-total': key }, value))));
    refusals.replaceChildren(...found.refusals.map(({ code, field, count }) => h('tr', { 'data-code': code, 'data-field': field },
      h('td', {}, h('a', { href: ctx.href('requests', { code }) }, code)),
      h('td', { class: 'mono' }, field || '–'), h('td', { class: 'num' }, number(count)))));
    if (found.refusals.length === 0) refusals.append(h('tr', {}, h('td', { colspan: 3, class: 'muted' }, 'No request was rejected.')));
    store.replaceChildren(found.store ? storeFacts(found.store) : h('p', { class: 'muted' },
      'Shown if the store reports its state, to viewers of all platforms.'));
  }

  async function refresh() {
    clearTimeout(timer);
    abort.abort();
    abort = new AbortController();
    const { signal } = abort;
    if (document.hidden) return;
    try {
      show(await ctx.api.get('api/overview', {}, signal));
      failure.replaceChildren();
    } catch (error) {
      if (error.name === 'AbortError' || error.status === 401) return;
      failure.replaceChildren(notice('error', `${error.message} Trying again every ${REFRESH / 1000} seconds.`));
    }
    if (!signal.aborted) timer = setTimeout(refresh, REFRESH);
  }

  document.addEventListener('visibilitychange', refresh);
  return {
    update: refresh,
    unmount() {
      clearTimeout(timer);
      abort.abort();
      document.removeEventListener('visibilitychange', refresh);
    },
  };
}
