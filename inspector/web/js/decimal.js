// Exact arithmetic on decimal strings: charge events carry up to 38 digits, more than a Number keeps.

const form = /^(-?)(\d+)(?:\.(\d+))?$/;

// parse returns {units, scale} with value = units / 10^scale, or null if text is not a decimal.
export function parse(text) {
  const m = typeof text === 'string' ? form.exec(text) : null;
  if (!m) return null;
  const units = BigInt(m[2] + (m[3] ?? ''));
  return { units: m[1] ? -units : units, scale: (m[3] ?? '').length };
}

// sum adds decimal strings and keeps the largest scale; anything that is not a decimal is left out. null: none was.
export function sum(texts) {
  let total = null;
  for (const text of texts) {
    const next = parse(text);
    if (!next) continue;
    total ??= { units: 0n, scale: 0 };
    const scale = Math.max(total.scale, next.scale);
    total = { units: rescaled(total, scale) + rescaled(next, scale), scale };
  }
  return total && format(total);
}

function rescaled({ units, scale }, to) {
  return units * 10n ** BigInt(to - scale);
}

function format({ units, scale }) {
  const digits = (units < 0n ? -units : units).toString().padStart(scale + 1, '0');
  const sign = units < 0n ? '-' : '';
  return sign + (scale ? `${digits.slice(0, -scale)}.${digits.slice(-scale)}` : digits);
}
