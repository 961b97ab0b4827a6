// A recorded request as a curl command for a POSIX shell with $'…' quotes (bash, zsh, ksh).

const NOT_SENT = /^(connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|content-length|content-encoding|host|user-agent|accept-encoding|x-api-key|authorization|cookie|expect)$/i;

// quote writes control characters as escapes: pasted into a terminal they could end the quotes or run a command.
export function quote(text) {
  if (!/[\0-\x09\x0b-\x1f\x7f-\x9f]/.test(text)) return `'${text.replaceAll("'", "'\\''")}'`;
  const escaped = text.replace(/[\\']/g, '\\$&').replaceAll('\n', '\\n')
    .replace(/[\0-\x1f\x7f]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`)
    .replace(/[\x80-\x9f]/g, (c) => `\\u00${c.charCodeAt(0).toString(16)}`);
  return `$'${escaped}'`;
}

export function curl(r) {
  const notes = [];
  const parts = [`curl -X ${quote(r.method)} ${quote(`${r.scheme || 'http'}://${r.host}${r.path}`)}`,
    "-H 'X-API-KEY: <your key>'"];
  const typed = r.header.some(([name]) => /^content-type$/i.test(name));
  for (const [name, value] of r.header) {
    if (!NOT_SENT.test(name) && !value.includes('•••')) parts.push(`-H ${quote(`${name}: ${value}`)}`);
  }
  if (r.path.includes('•••')) notes.push('# Values of the query are masked.');
  const { text, bytes, truncated, encoding } = r.body;
  if (encoding === 'base64') notes.push('# The body is not valid UTF-8 and is left out.');
  else if (truncated) notes.push(`# The body is left out: only a part of its ${bytes} bytes was recorded.`);
  else if (text.includes('\0')) notes.push('# The body has a NUL character, which a shell cannot pass on, and is left out.');
  else if (text !== '') {
    if (!typed) parts.push("-H 'Content-Type:'");
    parts.push(`--data-raw ${quote(text)}`);
  }
  return [...notes, parts.join(' \\\n  ')].join('\n');
}
