// Runs in every page before its own scripts.
(() => {
  const t = { csp: [], shifts: [], longTasks: [], cls: 0 };
  window.__t = t;
  document.addEventListener('securitypolicyviolation', (e) => {
    t.csp.push(`${e.violatedDirective} ${e.blockedURI} ${e.sourceFile}:${e.lineNumber} ${e.sample}`);
  });
  const observe = (type, add) => {
    new PerformanceObserver((list) => list.getEntries().forEach(add)).observe({ type, buffered: true });
  };
  observe('layout-shift', (e) => {
    if (e.hadRecentInput) return;
    t.cls += e.value;
    t.shifts.push(e.value.toFixed(4) + ' ' + e.sources.map((s) => {
      const n = s.node && (s.node.id || s.node.className || s.node.nodeName);
      const r = (q) => [q.x, q.y, q.width, q.height].map(Math.round).join(',');
      return `${n} ${r(s.previousRect)} to ${r(s.currentRect)}`;
    }).join('; '));
  });
  observe('longtask', (e) => t.longTasks.push(Math.round(e.duration)));

  // Tests run in parallel and share the clipboard, so keep what this page copied.
  if (navigator.clipboard) {
    const write = navigator.clipboard.writeText.bind(navigator.clipboard);
    navigator.clipboard.writeText = async (text) => {
      await write(text);
      t.copied = text;
    };
  }

  t.visible = (el) => el.checkVisibility({ opacityProperty: true, visibilityProperty: true }) &&
    el.getClientRects().length > 0;
  const clean = (s) => s.replace(/\s+/g, ' ').trim();
  t.all = (selector) => [...document.querySelectorAll(selector)].filter(t.visible);
  t.find = (selector, text) => t.all(selector).find((el) => {
    if (!text) return true;
    const own = clean(el.innerText ?? el.textContent);
    return own === text || own.includes(text);
  });
  t.text = (selector) => t.all(selector).map((el) => clean(el.innerText ?? el.textContent));
  // The centre of an element that can be clicked there, or why it can not.
  t.target = (selector, text) => {
    const el = t.find(selector, text);
    if (!el) return { problem: `nothing visible matches ${selector} ${text}` };
    el.scrollIntoView({ block: 'center', inline: 'nearest', behavior: 'instant' });
    const r = el.getClientRects()[0];
    const x = r.x + r.width / 2, y = r.y + r.height / 2;
    const hit = document.elementFromPoint(x, y);
    if (!hit) return { problem: `${selector} is at ${x},${y}, outside the viewport` };
    if (!(el === hit || el.contains(hit) || hit.contains(el) || [...(el.labels ?? [])].some((l) => l.contains(hit)))) {
      return { problem: `${selector} is covered by ${hit.outerHTML.slice(0, 200)}` };
    }
    if (el.disabled) return { problem: `${selector} is disabled` };
    return { x, y };
  };
})();
