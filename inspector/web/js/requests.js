// The requests that the endpoint received, newest first.

import { empty } from './dom.js';

export const title = 'Requests';

export function mount(container) {
  container.append(empty('No requests yet', 'Send a request to the endpoint. It appears here at once.'));
  return { update() {}, unmount() {} };
}
