// Returns what a user of a keyboard, a screen reader or weak eyes would trip over.
(() => {
  const found = [];
  const visible = (el) => __t.visible(el);
  const name = (el) => {
    const text = (el.innerText ?? el.textContent ?? '').replace(/\s+/g, ' ').trim().slice(0, 40);
    return `<${el.tagName.toLowerCase()}${el.id ? '#' + el.id : ''}${el.getAttribute('class') ? '.' + el.getAttribute('class') : ''}> "${text}"`;
  };
  const report = (rule, el, more = '') => found.push(`${rule}: ${name(el)} ${more}`);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const shown = (selector) => all(selector).filter(visible);
  const root = document.documentElement;

  if (!/^[a-z]{2}/.test(root.lang)) report('lang', root);
  if (!document.title.trim()) report('title', root);
  const meta = document.querySelector('meta[name=viewport]')?.content ?? '';
  if (!meta.includes('width=device-width') || /user-scalable=no|maximum-scale/.test(meta)) report('viewport', root, meta);

  const ids = new Set();
  for (const el of all('[id]')) {
    if (ids.has(el.id)) report('duplicate id', el);
    ids.add(el.id);
  }
  for (const attribute of ['aria-labelledby', 'aria-describedby', 'aria-controls', 'aria-owns', 'aria-activedescendant', 'for', 'list']) {
    for (const el of all(`[${attribute}]`)) {
      for (const id of el.getAttribute(attribute).split(/\s+/)) {
        if (id && !document.getElementById(id)) report(`${attribute} without target`, el, id);
      }
    }
  }

  const main = shown('main, [role=main]');
  if (main.length !== 1) report('one main landmark', root, main.length);
  if (!shown('header, [role=banner]').length) report('no banner', root);
  const headings = shown('h1, h2, h3, h4, h5, h6');
  if (shown('h1').length !== 1) report('one h1', root, shown('h1').length);
  let level = 0;
  for (const h of headings) {
    const n = Number(h.tagName[1]);
    if (n > level + 1) report('skipped heading level', h);
    if (!h.textContent.trim()) report('empty heading', h);
    level = n;
  }

  for (const el of shown('.tiles')) if (el.scrollHeight > el.clientHeight + 1) report('overlaps what follows', el);

  const interactive = 'a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex], [role=button], [role=tab], [role=link], [role=option], [role=checkbox], [role=switch]';
  const controls = shown(interactive).filter((el) => !el.disabled);
  for (const el of all('[tabindex]')) if (el.tabIndex > 0) report('tabindex above 0', el);
  for (const el of shown('[aria-hidden=true]')) {
    if ([el, ...el.querySelectorAll('*')].some((c) => c.tabIndex >= 0 && visible(c))) report('focusable but hidden from readers', el);
  }
  for (const el of controls) {
    const inner = el.querySelector('a[href], button, input, select, textarea');
    if (inner && el.matches('a, button, [role=button], [role=tab], [role=option], [role=link]')) report('nested control', el, name(inner));
    if (el.matches('a:not([href])')) report('link without target', el);
    if (el.matches('input, select, textarea') && !el.labels?.length && !el.getAttribute('aria-label') && !el.getAttribute('aria-labelledby')) report('field without label', el);
    const label = el.getAttribute('aria-label');
    const text = (el.innerText ?? '').replace(/\s+/g, ' ').trim().toLowerCase();
    if (label && text && el.matches('a, button, [role=tab]') && /[a-z]{3}/.test(text) && !label.toLowerCase().includes(text)) report('label without the visible text', el, label);
  }
  for (const el of shown('[role=tab]')) {
    if (!el.closest('[role=tablist]') || !el.hasAttribute('aria-selected')) report('tab', el);
  }
  for (const el of shown('[role=option]')) if (!el.closest('[role=listbox]')) report('option outside a listbox', el);
  for (const el of shown('img')) if (!el.hasAttribute('alt')) report('img without alt', el);
  for (const el of shown('svg')) {
    const hidden = el.closest('[aria-hidden=true]');
    if (!hidden && !(el.getAttribute('role') === 'img' && (el.getAttribute('aria-label') || el.getAttribute('aria-labelledby')))) report('svg neither named nor hidden', el);
  }
  for (const table of shown('table:not([role=presentation])')) {
    if (!table.caption && !table.getAttribute('aria-label') && !table.getAttribute('aria-labelledby')) report('table without name', table);
    const heads = [...table.querySelectorAll('th')];
    if (!heads.length) report('table without header cells', table);
    for (const th of heads) {
      if (!th.textContent.trim() && !th.getAttribute('aria-label')) report('empty header cell', th, table.className);
      if (!th.closest('thead') && !th.scope) report('header cell without scope', th);
    }
  }
  for (const el of shown('li')) if (!el.closest('ul, ol, menu, [role=list]')) report('item outside a list', el);

  // Targets of at least 24 by 24 CSS pixels. Links within a sentence are exempt.
  for (const el of controls) {
    if (el.matches('svg *, [tabindex="-1"]')) continue;
    if (el.matches('a') && getComputedStyle(el).display === 'inline' && el.parentElement.innerText.trim() !== el.innerText.trim()) continue;
    const boxes = [el, ...(el.matches('[type=checkbox], [type=radio]') ? el.labels : [])].map((e) => e.getBoundingClientRect());
    const width = Math.max(...boxes.map((b) => b.width)), height = Math.max(...boxes.map((b) => b.height));
    if (width < 24 || height < 24) report('target below 24 px', el, `${width.toFixed(1)}×${height.toFixed(1)}`);
  }

  // The page does not scroll to the side, and what is wider than its box can be scrolled to.
  const width = root.clientWidth;
  if (document.scrollingElement.scrollWidth > width) report('page scrolls to the side', root, `${document.scrollingElement.scrollWidth} > ${width}`);
  for (const el of shown('body *')) {
    const box = el.getBoundingClientRect();
    if (box.right <= width + 1 || el.closest('svg') && el.tagName !== 'svg') continue;
    let scroller = el.parentElement;
    while (scroller && !['auto', 'scroll', 'hidden', 'clip'].includes(getComputedStyle(scroller).overflowX)) scroller = scroller.parentElement;
    if (!scroller) { report('outside the viewport', el, Math.round(box.right)); break; }
  }

  // Contrast of text, by the rendered colours.
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = 1;
  const context = canvas.getContext('2d', { willReadFrequently: true });
  const cache = new Map();
  const rgba = (colour) => {
    if (!cache.has(colour)) {
      context.clearRect(0, 0, 1, 1);
      context.fillStyle = colour;
      context.fillRect(0, 0, 1, 1);
      const d = context.getImageData(0, 0, 1, 1).data;
      cache.set(colour, [d[0], d[1], d[2], d[3] / 255]);
    }
    return cache.get(colour);
  };
  const over = (top, below) => {
    const a = top[3] + below[3] * (1 - top[3]);
    return a ? [0, 1, 2].map((i) => (top[i] * top[3] + below[i] * below[3] * (1 - top[3])) / a).concat(a) : [0, 0, 0, 0];
  };
  const dark = matchMedia('(prefers-color-scheme: dark)').matches;
  const background = (el) => {
    let colour = [0, 0, 0, 0];
    for (let e = el; e; e = e.parentElement) {
      const style = getComputedStyle(e);
      if (e instanceof SVGElement && e.tagName !== 'svg') continue;
      colour = over(colour, rgba(style.backgroundColor));
      if (colour[3] >= 0.999) return colour;
    }
    return over(colour, dark ? [18, 18, 18, 1] : [255, 255, 255, 1]);
  };
  const luminance = (c) => {
    const [r, g, b] = c.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a, b) => {
    const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p);
    return (x + 0.05) / (y + 0.05);
  };
  const opacity = (el) => {
    let o = 1;
    for (let e = el; e; e = e.parentElement) o *= Number(getComputedStyle(e).opacity);
    return o;
  };
  const contrast = (el, colour, behind, min, what) => {
    const c = [...colour];
    c[3] *= opacity(el);
    const r = ratio(over(c, behind), behind);
    if (r < min) report(`contrast of ${what}`, el, `${r.toFixed(2)} < ${min}, ${colour.slice(0, 3).map(Math.round)} on ${behind.slice(0, 3).map(Math.round)}`);
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const checked = new Set();
  while (texts.nextNode()) {
    const el = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || checked.has(el) || !visible(el) || el.matches('option, script, style, title, [disabled], [disabled] *')) continue;
    checked.add(el);
    const style = getComputedStyle(el), size = parseFloat(style.fontSize);
    if (size < 11) report('text below 11 px', el, size);
    const large = size >= 24 || size >= 18.66 && Number(style.fontWeight) >= 700;
    const svg = el instanceof SVGElement;
    contrast(el, rgba(svg ? style.fill : style.color), background(svg ? el.closest('svg') : el), large ? 3 : 4.5, 'text');
  }
  for (const el of shown('input, select, textarea')) {
    if (el.disabled) continue;
    contrast(el, rgba(getComputedStyle(el).color), background(el), 4.5, 'a field');
    if (el.placeholder && !el.value) contrast(el, rgba(getComputedStyle(el, '::placeholder').color), background(el), 4.5, 'a placeholder');
    if (el.matches('[type=checkbox], [type=radio]')) continue;
    const style = getComputedStyle(el);
    const behind = background(el.parentElement);
    const border = parseFloat(style.borderBottomWidth) > 0 ? rgba(style.borderBottomColor) : [0, 0, 0, 0];
    if (Math.max(ratio(over(border, behind), behind), ratio(background(el), behind)) < 3) report('contrast of the border', el, ratio(over(border, behind), behind).toFixed(2));
  }
  for (const el of shown('svg rect, svg path, svg line, svg circle, svg polyline')) {
    if (el.closest('defs, clipPath, [data-decorative]') || !el.closest('[role=img]')) continue;
    const style = getComputedStyle(el);
    const paint = style.fill !== 'none' && !el.matches('line, polyline') ? style.fill : style.stroke;
    if (paint === 'none' || el.matches('.grid, .axis, .line, .band, [aria-hidden=true], [aria-hidden=true] *')) continue;
    contrast(el, rgba(paint), background(el.closest('svg')), 3, 'graphics');
  }
  window.__contrast = { background, rgba, over, ratio, luminance };
  return [...new Set(found)];
})()
