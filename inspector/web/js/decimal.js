// Exact sums of decimal strings: charge events carry up to 38 digits, more than a Number keeps.

const DECIMAL = /^(-?\d+)(?:\.(\d+))?$/;

// sum keeps the largest scale and leaves out what is not a decimal string; null if there is none.
export function sum(texts) {
  const terms = texts.map((text) => typeof text === 'string' && DECIMAL.exec(text)).filter(Boolean);
  if (terms.length === 0) return null;
  const scale = Math.max(...terms.map(([, , fraction = '']) => fraction.length));
  const total = terms.reduce((n, [, whole, fraction = '']) => n + BigInt(whole + fraction.padEnd(scale, '0')), 0n);
  const digits = `${total < 0n ? -total : total}`.padStart(scale + 1, '0');
  const point = digits.length - scale;
  return (total < 0n ? '-' : '') + digits.slice(0, point) + (scale ? `.${digits.slice(point)}` : '');
}
