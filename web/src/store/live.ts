/** The one connection to the event log: snapshot first, then every event after it, resumed where it broke off. */

import { batch, signal } from "@preact/signals";
import { ApiError, get, optional, signedIn } from "../api";
import { readStream, type Frame } from "../sse";
import type { ServerStatus, WireEvent } from "../types";

export type Connection = "connecting" | "live" | "offline";

export const connection = signal<Connection>("connecting");
export const serverStatus = signal<ServerStatus>({});
/** The moment the connection was lost, by this device's clock. */
export const lostAt = signal<number | null>(null);
/** True once the first snapshot has been read. */
export const loaded = signal(false);
/** The server's clock minus ours, in milliseconds. */
export const clockOffset = signal(0);
/** The present by the server's clock, in milliseconds; moves once a second while the page is visible. */
export const now = signal(Date.now());

type Listener = (event: WireEvent) => void;
type Loader = () => Promise<unknown>;

const listeners = new Set<Listener>();
const loaders = new Set<Loader>();
let lastSeq: number | null = null;
let running: AbortController | null = null;
let wakeUp: () => void = () => {};

/** Hear every event from now on; returns how to stop. */
export function onEvent(listener: Listener): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Read anew whenever a snapshot is taken: at the start and when events were missed for good. */
export function onSnapshot(loader: Loader): () => void {
  loaders.add(loader);
  return () => loaders.delete(loader);
}

/** Pass a frame of the stream on to the stores; a sequence number already seen is dropped. */
export function accept(frame: Frame): "snapshot" | "applied" | "ignored" {
  let event: WireEvent;
  try {
    event = JSON.parse(frame.data) as WireEvent;
  } catch {
    return "ignored";
  }
  const type = event.type ?? frame.event;
  if (type === "system.snapshot") return "snapshot";
  if (!type) return "ignored";
  if (frame.id !== null) {
    const seq = Number(frame.id);
    if (lastSeq !== null && seq <= lastSeq) return "ignored";
    lastSeq = seq;
  }
  batch(() => {
    for (const listener of listeners) listener({ ...event, type, data: event.data ?? {} });
  });
  return "applied";
}

/** For tests: where the stream stands. */
export function position(seq?: number | null): number | null {
  if (seq !== undefined) lastSeq = seq;
  return lastSeq;
}

async function snapshot(): Promise<void> {
  const status = await optional<ServerStatus, ServerStatus>(get("/v1/status"), {});
  serverStatus.value = status;
  if (status.time) clockOffset.value = Date.parse(status.time) - Date.now();
  now.value = Date.now() + clockOffset.value;
  signedIn.value = true;
  // The number is read before the lists: what happens in between is told twice, never missed.
  if (typeof status.seq === "number") lastSeq = status.seq;
  await Promise.all([...loaders].map((load) => load()));
  loaded.value = true;
}

const pause = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    wakeUp = () => {
      clearTimeout(timer);
      resolve();
    };
  });

async function run(abort: AbortSignal): Promise<void> {
  let failures = 0;
  let fresh = false;
  while (!abort.aborted) {
    try {
      if (!fresh) {
        await snapshot();
        fresh = true;
      }
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) return;
      fresh = false;
    }
    if (fresh) {
      let reload = false;
      const own = new AbortController();
      const stop = () => own.abort();
      abort.addEventListener("abort", stop);
      const from = lastSeq;
      const ended = await readStream(
        from === null ? "/v1/stream" : `/v1/stream?after=${from}`,
        from,
        (frame) => {
          if (accept(frame) === "snapshot") {
            reload = true;
            own.abort();
          }
        },
        () => {
          failures = 0;
          lostAt.value = null;
          connection.value = "live";
        },
        own.signal,
      );
      abort.removeEventListener("abort", stop);
      if (abort.aborted) return;
      if (ended === "unauthorised") {
        signedIn.value = false;
        return;
      }
      if (reload || ended === "gone") {
        fresh = false;
        continue;
      }
    }
    failures += 1;
    lostAt.value ??= Date.now();
    // One quick try is no outage: a restarting server or a changed network costs nothing but a blink.
    if (failures > 1) connection.value = "offline";
    await pause(Math.min(250 * 2 ** (failures - 1), 1000) * (0.8 + Math.random() * 0.4));
  }
}

/** Connect; again after signing in. */
export function start(): void {
  stop();
  const controller = new AbortController();
  running = controller;
  connection.value = "connecting";
  void run(controller.signal);
}

export function stop(): void {
  running?.abort();
  running = null;
  wakeUp();
}

/** Try at once, not at the next turn of the back-off. */
export function reconnect(): void {
  wakeUp();
}

let ticker = 0;

/** Keep `now` moving and the connection matching what the page needs; once, at the start. */
export function watchPage(): void {
  const tick = () => {
    now.value = Date.now() + clockOffset.value;
  };
  const visible = () => {
    clearInterval(ticker);
    if (document.visibilityState === "visible") {
      tick();
      ticker = setInterval(tick, 1000) as unknown as number;
      reconnect();
    }
  };
  document.addEventListener("visibilitychange", visible);
  addEventListener("online", reconnect);
  visible();
}
