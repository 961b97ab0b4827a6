// The stream of "there are new requests" and its state: connecting, live, polling, disconnected, paused or hidden.

const BACKOFF = [1, 2, 5, 10];
const POLL = 5;
const STREAM_AGAIN = 60; // seconds after the server had no stream left
const SILENCE = 40; // seconds without a heartbeat

export class Feed {
  #api; #listeners = new Set(); #abort; #timer; #failures = 0; #onState; #run = 0;
  state = 'connecting';
  paused = false;

  constructor(api, onState) {
    this.#api = api;
    this.#onState = onState;
    document.addEventListener('visibilitychange', () => this.start());
  }

  // subscribe calls listener(newest, reconnected) when there may be new requests: newest is the id of the newest one,
  // or null if unknown. It returns the function that ends this.
  subscribe(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  pause(paused) {
    this.paused = paused;
    this.start();
  }

  stop() {
    this.#run++;
    this.#abort?.abort();
    clearTimeout(this.#timer);
  }

  start() {
    this.stop();
    if (this.paused) this.#set('paused');
    else if (document.hidden) this.#set('hidden');
    else this.#connect(this.#run);
  }

  #set(state) {
    this.state = state;
    this.#onState(state);
  }

  #later(seconds, run) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => { if (run === this.#run) this.#connect(run); }, seconds * 1000);
  }

  #tell(newest, reconnected) {
    for (const listener of this.#listeners) listener(newest, reconnected);
  }

  async #connect(run) {
    const abort = this.#abort = new AbortController();
    try {
      const response = await this.#api.open('GET', 'api/stream', { signal: abort.signal });
      let first = true;
      for await (const line of lines(response.body, () => abort.abort())) {
        if (run !== this.#run) return;
        if (line === '') continue;
        const { newest } = JSON.parse(line);
        this.#failures = 0;
        if (first) this.#set('live');
        this.#tell(newest, first);
        first = false;
      }
    } catch (error) {
      if (run !== this.#run || error.status === 401) return;
      if (error.status === 503) return this.#poll(run, Date.now() + STREAM_AGAIN * 1000);
    }
    if (run !== this.#run) return;
    this.#set('disconnected');
    this.#later(BACKOFF[Math.min(this.#failures++, BACKOFF.length - 1)], run);
  }

  #poll(run, until) {
    this.#set('polling');
    this.#tell(null, false);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (run !== this.#run) return;
      if (Date.now() >= until) this.#connect(run);
      else this.#poll(run, until);
    }, POLL * 1000);
  }
}

// lines yields the lines of a stream and calls onSilence if none arrives for a while.
async function* lines(stream, onSilence) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  let timer;
  try {
    for (;;) {
      timer = setTimeout(onSilence, SILENCE * 1000);
      const { value, done } = await reader.read();
      clearTimeout(timer);
      if (done) return;
      const parts = (rest + value).split('\n');
      rest = parts.pop();
      yield* parts;
    }
  } finally {
    clearTimeout(timer);
    reader.cancel().catch(() => {});
  }
}
