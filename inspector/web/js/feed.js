// The stream of "there are new requests".

const BACKOFF = [1, 2, 5, 10]; // seconds
const POLL = 10, POLLS = 6; // seconds between questions without a stream; questions before it is tried again
const SILENCE = 40; // seconds without a heartbeat

export class Feed {
  #api; #onState; #listeners = new Set(); #abort = new AbortController();
  state = '';
  paused = false;
  newest = null; // what listeners were told last

  // onState gets connecting, live, polling, disconnected or paused.
  constructor(api, onState) {
    this.#api = api;
    this.#onState = onState;
  }
  // subscribe calls listener(id of the newest request, or null) when there may be new ones, and returns how to end this.
  subscribe(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
  stop() { this.#abort.abort(); }
  start(paused = this.paused) {
    this.stop();
    this.paused = paused;
    this.newest = null;
    this.#abort = new AbortController();
    if (paused || document.hidden) this.#set('paused');
    else this.#run(this.#abort.signal);
  }
  #set(state) {
    this.state = state;
    this.#onState(state);
  }
  #tell(newest) {
    this.newest = newest;
    this.#listeners.forEach((listener) => listener(newest));
  }
  async #run(signal) {
    this.#set('connecting');
    for (let failures = 0; !signal.aborted;) {
      const error = await this.#read(signal, () => { failures = 0; }).catch((e) => e);
      if (signal.aborted || error?.status === 401) return;
      const full = error?.status === 503;
      this.#set(full ? 'polling' : 'disconnected');
      for (let i = 0; full && i < POLLS && !signal.aborted; i++) {
        this.#tell(null);
        await pause(POLL);
      }
      if (!full) await pause(BACKOFF[Math.min(failures++, BACKOFF.length - 1)]);
    }
  }
  async #read(signal, onLine) {
    const response = await this.#api.open('GET', 'api/stream', { signal });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ''; ;) {
      const timer = setTimeout(() => reader.cancel(), SILENCE * 1000);
      const { value, done } = await reader.read().finally(() => clearTimeout(timer));
      if (done || signal.aborted) return;
      const lines = (rest + value).split('\n');
      rest = lines.pop();
      onLine();
      if (this.state !== 'live') this.#set('live');
      for (const line of lines.filter(Boolean)) this.#tell(JSON.parse(line).newest);
    }
  }
}

const pause = (seconds) => new Promise((resolve) => { setTimeout(resolve, seconds * 1000); });
