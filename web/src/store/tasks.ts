/** The tasks we know, each a signal of its own, so that a moving bar redraws one row and nothing else. */

import { computed, signal, type Signal } from "@preact/signals";
import { ApiError, get, optional, post } from "../api";
import { TERMINAL, type Page, type Progress, type Status, type Task, type WireEvent } from "../types";
import { word } from "../i18n";
import { onEvent, onSnapshot } from "./live";

export type Column = "needs_you" | "running" | "queued" | "scheduled" | "done";
export const COLUMNS: Column[] = ["needs_you", "running", "queued", "scheduled", "done"];

const known = new Map<string, Signal<Task>>();
/** Changes when a task appears, goes, or may have moved to another column. */
const arrangement = signal(0);
/** Where the next page of finished tasks begins. */
export const doneCursor = signal<string | null>(null);
const KEEP_DONE = 400;

/** Which column of the board a task stands in. */
export function columnOf(task: Task): Column {
  if (TERMINAL.has(task.status)) return "done";
  const kind = task.status === "waiting" ? task.waiting_for?.kind : undefined;
  if (kind === "approval" || kind === "budget" || kind === "reconcile") return "needs_you";
  if (kind === "timer" || kind === "event") return "scheduled";
  if (task.status === "running" || kind === "child") return "running";
  if (task.status === "queued" && (task.next_attempt_at ?? task.not_before)) return "scheduled";
  return "queued";
}

export function taskSignal(id: string): Signal<Task> | undefined {
  arrangement.value;
  return known.get(id);
}

export const nameOf = (task: Task): string => task.title || word("kind", task.kind);

/** What a task is called. One that ended before it was first read is asked for; nothing if that fails. */
export async function titleOf(id: string): Promise<string> {
  const task = known.get(id)?.peek() ?? (await get<Task>(`/v1/tasks/${id}`).catch(() => null));
  return task ? nameOf(task) : "";
}

/** Every known task, by column, in the order of the board. */
export const board = computed<Record<Column, Signal<Task>[]>>(() => {
  arrangement.value;
  const columns: Record<Column, Signal<Task>[]> = { needs_you: [], running: [], queued: [], scheduled: [], done: [] };
  for (const task of known.values()) columns[columnOf(task.peek())].push(task);
  const by = (key: (task: Task) => string | null | undefined, direction: 1 | -1) => (a: Signal<Task>, b: Signal<Task>) => {
    const left = key(a.peek()) ?? "";
    const right = key(b.peek()) ?? "";
    return left === right ? (a.peek().task_id < b.peek().task_id ? -direction : direction) : left < right ? -direction : direction;
  };
  columns.needs_you.sort(by((task) => task.created_at, 1));
  columns.running.sort(by((task) => task.started_at ?? task.created_at, -1));
  columns.queued.sort(by((task) => task.created_at, 1));
  columns.scheduled.sort(by((task) => task.waiting_for?.until ?? task.next_attempt_at ?? task.not_before ?? task.created_at, 1));
  columns.done.sort(by((task) => task.ended_at, -1));
  return columns;
});

const shape = (task: Task): string =>
  [task.status, task.waiting_for?.kind, task.next_attempt_at, task.not_before, task.ended_at, task.title, task.kind, task.session].join("|");

/** Counts what was heard. A document that was asked for before an event of its task is older than the event, whenever it arrives. */
let heard = 0;
/** By task, the count at its newest document or event, and at its newest progress. */
const changed = new WeakMap<Signal<Task>, number>();
const moved = new WeakMap<Signal<Task>, number>();

/** Take in a task's document, asked for when `at` was the count. What ended stays ended: an older answer that arrives late changes nothing. */
export function put(task: Task & { detached?: boolean }, at = heard): void {
  if (task.detached === false) {
    if (known.delete(task.task_id)) arrangement.value += 1;
    return;
  }
  const present = known.get(task.task_id);
  if (!present) {
    const made = signal(task);
    known.set(task.task_id, made);
    changed.set(made, at);
    arrangement.value += 1;
    return;
  }
  const before = present.peek();
  if (TERMINAL.has(before.status) && !TERMINAL.has(task.status)) return;
  if (task.attempt < before.attempt || at < (changed.get(present) ?? 0)) return;
  changed.set(present, at);
  if (at < (moved.get(present) ?? 0) && !TERMINAL.has(task.status)) task = { ...task, progress: before.progress, estimated_completion: before.estimated_completion };
  present.value = task;
  if (shape(before) !== shape(task)) arrangement.value += 1;
}

export function forget(): void {
  known.clear();
  arrangement.value += 1;
}

/** The status after an event; most events are called after it. */
const STATUS_AFTER: Record<string, Status> = { started: "running", resumed: "queued", retry_scheduled: "queued" };
const OPEN = ["queued", "waiting", "paused"];

function statusAfter(type: string): Status | undefined {
  const name = type.slice(5);
  return STATUS_AFTER[name] ?? (OPEN.includes(name) || TERMINAL.has(name as Status) ? (name as Status) : undefined);
}

function progressIn(data: Record<string, unknown>): Partial<Progress> {
  const inner = data.progress;
  const source = (inner && typeof inner === "object" ? inner : data) as Record<string, unknown>;
  const found: Partial<Progress> = {};
  for (const name of ["current", "total", "percentage", "unit", "message"] as const) {
    if (name in source) (found as Record<string, unknown>)[name] = source[name];
  }
  return found;
}

/** Apply what an event says at once; the full document follows by itself where more than progress changed. */
export function applyEvent(event: WireEvent): void {
  const id = event.task_id;
  if (!id || !event.type.startsWith("task.") || event.data.detached === false) return;
  const present = known.get(id);
  if (event.type === "task.progress") {
    if (!present) return refresh(id);
    const task = present.peek();
    if (TERMINAL.has(task.status)) return;
    moved.set(present, ++heard);
    present.value = {
      ...task,
      progress: { current: 0, total: null, percentage: null, unit: null, message: null, ...task.progress, ...progressIn(event.data) },
      estimated_completion: (event.data.estimated_completion as string | undefined) ?? task.estimated_completion,
    };
    return;
  }
  if (event.type === "task.step_finished" && present) return;
  const status = statusAfter(event.type);
  if (present && status && !TERMINAL.has(present.peek().status)) {
    const task = present.peek();
    const ended = TERMINAL.has(status) ? { ended_at: event.time, estimated_completion: null, waiting_for: null } : {};
    put({ ...task, status, ...ended, waiting_for: status === "waiting" ? task.waiting_for : null });
  }
  heard += 1;
  if (present) changed.set(present, heard);
  refresh(id);
}

const wanted = new Set<string>();
let flushing: number | null = null;

/** Read a task again soon; many at once become one reading of the lists. */
export function refresh(id: string): void {
  wanted.add(id);
  flushing ??= setTimeout(flush, wanted.size > 12 ? 600 : 40) as unknown as number;
}

/** Read a task's document. */
export async function readTask(id: string): Promise<Task> {
  const at = heard;
  const task = await get<Task>(`/v1/tasks/${encodeURIComponent(id)}`);
  put(task, at);
  return task;
}

async function readEach(ids: string[]): Promise<void> {
  for (let n = 0; n < ids.length; n += 12) await Promise.all(ids.slice(n, n + 12).map((id) => optional(readTask(id), null)));
}

async function flush(): Promise<void> {
  const ids = [...wanted];
  wanted.clear();
  let rest = 250;
  try {
    await (ids.length > 12 ? loadTasks(ids) : readEach(ids));
  } catch (error) {
    // Nobody asks for these again: what a busy server or a bad line has left unanswered is asked for later.
    if (!(error instanceof ApiError && error.status === 401)) ids.forEach((id) => wanted.add(id));
    rest = 2000;
  } finally {
    flushing = wanted.size ? (setTimeout(flush, rest) as unknown as number) : null;
  }
}

const ENDED = [...TERMINAL].join(",");

async function page(query: Record<string, string | number | null | undefined>): Promise<Page<Task>> {
  const at = heard;
  const found = await get<Page<Task>>("/v1/tasks", query);
  for (const task of found.items) put(task, at);
  return found;
}

/** Read the lists; `about` are tasks of which something was heard. */
export async function loadTasks(about: string[] = []): Promise<void> {
  const [open, queued, ended] = await Promise.all([page({ status: "running,waiting,paused", limit: 200 }), page({ status: "queued", limit: 100 }), page({ status: ENDED, limit: 50 })]);
  doneCursor.value = ended.next_cursor;
  const listed = new Set([open, queued, ended].flatMap((one) => one.items).map((task) => task.task_id));
  const whole = !open.next_cursor && !queued.next_cursor;
  // What we believe to be open and no list holds has ended meanwhile, or is beyond a list's first page.
  await readEach([...known].filter(([id, task]) => !listed.has(id) && !TERMINAL.has(task.peek().status) && (whole || about.includes(id))).map(([id]) => id));
  prune();
}

function prune(): void {
  const done = board.peek().done;
  for (const task of done.slice(KEEP_DONE)) if (!found.peek().ids.has(task.peek().task_id)) known.delete(task.peek().task_id);
}

/** Read the next page of what has ended. */
export async function moreDone(): Promise<void> {
  doneCursor.value = (await page({ status: ENDED, limit: 50, cursor: doneCursor.value })).next_cursor;
}

export interface Filter { q: string; status: string; runtime: string; kind: string }
/** What the server has found for a filter, also among what was never read, and where the next page begins. */
export const found = signal<{ filter: string; ids: ReadonlySet<string>; cursor: string | null }>({ filter: "", ids: new Set(), cursor: null });

let latest = "";

/** Let the server look; from the beginning, or on from where it stopped. */
export async function search(filter: Filter, further = false): Promise<void> {
  const key = JSON.stringify(filter);
  latest = key;
  const before = further ? found.value : { ids: [], cursor: null };
  const ids = new Set(before.ids);
  let cursor = before.cursor;
  // A page may be empty though there is more to look through.
  do {
    const next = await page({ ...filter, limit: 50, cursor });
    for (const task of next.items) ids.add(task.task_id);
    cursor = next.next_cursor;
  } while (cursor && ids.size === 0);
  if (latest === key) found.value = { filter: key, ids, cursor };
}

export type Command = "cancel" | "pause" | "resume" | "retry";

/** Carry out a person's command and take in the task the server answers with. */
export async function command(id: string, verb: Command): Promise<Task> {
  const at = heard;
  const task = await post<Task>(`/v1/tasks/${id}/${verb}`);
  if (task?.task_id) put(task, at);
  else refresh(id);
  return task;
}

export const RECONCILIATIONS = ["done", "redo", "give_up"] as const;

/** Say what became of an effect that was cut off in the middle. */
export async function reconcile(id: string, answer: (typeof RECONCILIATIONS)[number]): Promise<void> {
  const at = heard;
  const task = await post<Task>(`/v1/tasks/${id}/reconcile`, { answer });
  if (task?.task_id) put(task, at);
  else refresh(id);
}

/** Which commands make sense for a task now. */
export function commandsFor(task: Task): Command[] {
  switch (task.status) {
    case "running": case "waiting": case "queued":
      return ["pause", "cancel"];
    case "paused":
      return ["resume", "cancel"];
    case "failed": case "timed_out": case "cancelled": case "lost":
      return ["retry"];
    default:
      return [];
  }
}

export function connectTasks(): void {
  onEvent(applyEvent);
  onSnapshot(() => loadTasks());
}
