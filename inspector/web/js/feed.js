// The stream of "there are new requests".

const BACKOFF = [1, 2, 5, 10];
const POLL = 5; // seconds between questions if the server has no stream left
const POLLS = 12; // questions before the stream is tried again
const SILENCE = 40; // seconds without a heartbeat

export class Feed {
  #api; #onState; #listeners = new Set(); #abort = new AbortController();
  state = '';
  paused = false;

  // onState gets connecting, live, polling, disconnected or paused.
  constructor(api, onState) {
    this.#api = api;
    this.#onState = onState;
  }

  // subscribe calls listener(newest) when there may be new requests: newest is the id of the newest one, or null if
  // unknown. It returns the function that ends this.
  subscribe(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  stop() { this.#abort.abort(); }

  start(paused = this.paused) {
    this.stop();
    this.paused = paused;
    this.#abort = new AbortController();
    if (paused || document.hidden) this.#set('paused');
    else this.#run(this.#abort.signal);
  }

  #set(state) {
    this.state = state;
    this.#onState(state);
  }

  async #run(signal) {
    this.#set('connecting');
    for (let failures = 0; !signal.aborted;) {
      let full = false;
      try {
        const response = await this.#api.open('GET', 'api/stream', { signal });
        for await (const line of lines(response.body, signal)) {
          if (signal.aborted || line === '') continue;
          failures = 0;
          if (this.state !== 'live') this.#set('live');
          const { newest } = JSON.parse(line);
          this.#listeners.forEach((listener) => listener(newest));
        }
      } catch (error) {
        if (error.status === 401) return;
        full = error.status === 503;
      }
      if (signal.aborted) return;
      this.#set(full ? 'polling' : 'disconnected');
      for (let i = 0; full && i < POLLS && !signal.aborted; i++) {
        this.#listeners.forEach((listener) => listener(null));
        await pause(POLL);
      }
      if (!full) await pause(BACKOFF[Math.min(failures++, BACKOFF.length - 1)]);
    }
  }
}

const pause = (seconds) => new Promise((resolve) => { setTimeout(resolve, seconds * 1000); });

// lines yields the lines of a stream until it ends or is silent for too long.
async function* lines(stream, signal) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ''; !signal.aborted;) {
    const timer = setTimeout(() => reader.cancel(), SILENCE * 1000);
    const { value, done } = await reader.read().finally(() => clearTimeout(timer));
    if (done) return;
    const parts = (rest + value).split('\n');
    rest = parts.pop();
    yield* parts;
  }
}
