// A recorded request as a curl command. Without -g, curl would send one with braces in its URL several times.

import { visible } from './dom.js';

const NOT_SENT = new RegExp('^(connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|expect|host|' +
  'cookie|content-length|content-encoding|user-agent|accept-encoding|x-api-key|authorization)$', 'i');

const hex = (c, digits) => c.charCodeAt(0).toString(16).padStart(digits, '0');

// quote escapes control characters, which could end the quotes or run a command when pasted into a terminal. bash, zsh
// and ksh read such texts; sh reads the others.
function quote(text) {
  if (!/[\0-\x09\x0b-\x1f\x7f-\x9f]/.test(text)) return `'${text.replaceAll("'", "'\\''")}'`;
  return `$'${text.replace(/[\\']/g, '\\$&').replace(/[\0-\x1f\x7f]/g, (c) => `\\x${hex(c, 2)}`)
    .replace(/[\x80-\x9f]/g, (c) => `\\u${hex(c, 4)}`)}'`;
}

export function curl({ method, scheme, host, path, header, body }) {
  const notes = path.includes('•••') ? ['# Values of the query are masked.'] : [];
  if (host !== location.host) notes.push(`# The host is not that of this page: ${visible(host)}`);
  const parts = [`curl -g -X ${quote(method)} ${quote(`${scheme || 'http'}://${host}${path}`)}`,
    "-H 'X-API-KEY: <your key>'"];
  for (const [name, value] of header) {
    if (!NOT_SENT.test(name) && !value.includes('•••')) parts.push(`-H ${quote(`${name}: ${value}`)}`);
  }
  if (body.encoding === 'base64') notes.push('# The body is not valid UTF-8 and is left out.');
  else if (body.truncated) notes.push(`# The body is left out: only a part of its ${body.bytes} bytes was recorded.`);
  else if (body.text.includes('\0')) notes.push('# The body is left out: a shell cannot pass on its NUL characters.');
  else if (body.text) {
    if (!header.some(([name]) => /^content-type$/i.test(name))) parts.push("-H 'Content-Type:'");
    parts.push(`--data-raw ${quote(body.text)}`);
  }
  return [...notes, parts.join(' \\\n  ')].join('\n');
}
