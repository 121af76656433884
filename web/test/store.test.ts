import { beforeEach, describe, expect, it } from "vitest";
import { accept, onEvent, position } from "../src/store/live";
import { applyEvent, board, columnOf, commandsFor, forget, put, taskSignal } from "../src/store/tasks";
import type { Status, Task, WireEvent } from "../src/types";

const task = (values: Partial<Task> = {}): Task => ({
  task_id: "task_1", execution_id: null, attempt: 1, automation_id: null, parent_id: null, flow_id: null, runtime: "cli", kind: "simulate", title: "A", owner: "owner", session: null,
  status: "running", priority: "normal", notify: "silent", progress: { current: 1, total: 10, percentage: 10, unit: null, message: null }, created_at: "2026-11-21T08:00:00.000Z",
  started_at: "2026-11-21T08:00:01.000Z", ended_at: null, estimated_completion: null, next_attempt_at: null, waiting_for: null, verdict: null, result: null, error: null, delivery: null, usage: null, ...values,
});
const event = (type: string, data: Record<string, unknown> = {}): WireEvent => ({ seq: 1, time: "2026-11-21T08:01:00.000Z", type, task_id: "task_1", data });

beforeEach(() => {
  forget();
  position(null);
  globalThis.fetch = (() => Promise.reject(new Error("no network in tests"))) as typeof fetch;
});

describe("the column of a task", () => {
  const waiting = (kind: string) => columnOf(task({ status: "waiting", waiting_for: { kind } as Task["waiting_for"] }));
  it("is the person's where only a person can help", () => {
    expect([waiting("approval"), waiting("budget"), waiting("reconcile")]).toEqual(["needs_you", "needs_you", "needs_you"]);
  });
  it("is later where time or the world must move first", () => {
    expect([waiting("timer"), waiting("event"), columnOf(task({ status: "queued", next_attempt_at: "2026-11-21T09:00:00Z" }))]).toEqual(["scheduled", "scheduled", "scheduled"]);
  });
  it("is running while its children work", () => expect(waiting("child")).toBe("running"));
  it("is done for every ending", () => {
    for (const status of ["succeeded", "failed", "timed_out", "cancelled", "lost"] as Status[]) expect(columnOf(task({ status }))).toBe("done");
  });
});

describe("events", () => {
  it("move the bar of one task and nothing else", () => {
    put(task());
    const before = board.value;
    applyEvent(event("task.progress", { progress: { current: 5, total: 10, percentage: 50, message: "half" } }));
    expect(taskSignal("task_1")!.value.progress).toMatchObject({ percentage: 50, message: "half" });
    expect(board.value).toBe(before);
  });
  it("move a task to its new column at once", () => {
    put(task());
    applyEvent(event("task.cancelled"));
    expect(board.value.done.map((one) => one.value.status)).toEqual(["cancelled"]);
  });
  it("change nothing about what has ended", () => {
    put(task({ status: "succeeded" }));
    applyEvent(event("task.progress", { percentage: 20 }));
    applyEvent(event("task.started"));
    expect(taskSignal("task_1")!.value).toMatchObject({ status: "succeeded", progress: { percentage: 10 } });
  });
  it("are taken once, however often they are sent", () => {
    const heard: number[] = [];
    const stop = onEvent((one) => heard.push(one.seq!));
    const frame = (seq: number) => ({ id: String(seq), event: null, data: JSON.stringify({ ...event("system.x"), seq }) });
    expect([accept(frame(1)), accept(frame(2)), accept(frame(2)), accept(frame(1)), accept(frame(3))]).toEqual(["applied", "applied", "ignored", "ignored", "applied"]);
    stop();
    expect(heard).toEqual([1, 2, 3]);
    expect(position()).toBe(3);
  });
  it("without a number are live only and leave the place where it was", () => {
    position(9);
    expect(accept({ id: null, event: null, data: '{"type":"message.delta","data":{}}' })).toBe("applied");
    expect(position()).toBe(9);
  });
  it("that ask for a snapshot are not applied", () => {
    expect(accept({ id: "40", event: null, data: '{"type":"system.snapshot"}' })).toBe("snapshot");
    expect(accept({ id: "41", event: null, data: "not json" })).toBe("ignored");
  });
});

describe("documents", () => {
  it("that arrive late do not bring an ended task back", () => {
    put(task({ status: "failed" }));
    put(task({ status: "running" }));
    expect(taskSignal("task_1")!.value.status).toBe("failed");
  });
  it("of an earlier attempt are refused", () => {
    put(task({ attempt: 3 }));
    put(task({ attempt: 2, title: "old" }));
    expect(taskSignal("task_1")!.value.title).toBe("A");
  });
  it("of chat turns stay off the board", () => {
    put({ ...task(), detached: false });
    expect(taskSignal("task_1")).toBeUndefined();
  });
});

describe("commands", () => {
  it("are those that make sense", () => {
    const of = (status: Status) => commandsFor(task({ status }));
    expect(of("running")).toEqual(["pause", "cancel"]);
    expect(of("paused")).toEqual(["resume", "cancel"]);
    expect(of("failed")).toEqual(["retry"]);
    expect(of("succeeded")).toEqual([]);
  });
});
