/** Answers that come late, in another order, or not at all: what is shown is what is. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Conversation } from "../src/store/chat";
import { newest } from "../src/store/lists";
import { applyEvent, forget, loadTasks, put, readTask, search, taskSignal, titleOf } from "../src/store/tasks";
import type { Task, WireEvent } from "../src/types";

const task = (values: Partial<Task> = {}): Task => ({
  task_id: "task_1", execution_id: null, attempt: 1, automation_id: null, parent_id: null, flow_id: null, runtime: "cli", kind: "simulate", title: "A", owner: "owner", session: null,
  status: "running", priority: "normal", notify: "silent", progress: { current: 1, total: 10, percentage: 10, unit: null, message: null }, created_at: "2026-11-21T08:00:00.000Z",
  started_at: "2026-11-21T08:00:01.000Z", ended_at: null, estimated_completion: null, next_attempt_at: null, waiting_for: null, verdict: null, result: null, error: null, delivery: null, usage: null, ...values,
});
const event = (type: string, data: Record<string, unknown> = {}, id = "task_1"): WireEvent => ({ seq: 1, time: "2026-11-21T08:01:00.000Z", type, task_id: id, data });

interface Asked { path: string; answer: (document: unknown, status?: number) => void; fail: () => void }
let asked: Asked[] = [];
/** Answers at once what it knows; the rest waits for the test. */
let server: ((path: string) => unknown) | null = null;
const at = (part: string) => asked.findLast((one) => one.path.includes(part))!;

beforeEach(() => {
  vi.useFakeTimers();
  forget();
  asked = [];
  server = null;
  globalThis.fetch = ((path: string) => new Promise((resolve, reject) => {
    const answer = (document: unknown, status = 200) => resolve(new Response(JSON.stringify(document), { status }));
    asked.push({ path, answer, fail: () => reject(new Error("the line is down")) });
    const known = server?.(path);
    if (known !== undefined) answer(known);
  })) as typeof fetch;
});
afterEach(async () => {
  // Nothing of one test is still under way in the next.
  server = () => ({});
  asked.forEach((one) => one.answer({}, 401));
  await vi.advanceTimersByTimeAsync(10_000);
  vi.useRealTimers();
});

describe("a document", () => {
  it("that was asked for before an event does not undo it", async () => {
    put(task());
    const found = search({ q: "A", status: "", runtime: "", kind: "" });
    applyEvent(event("task.paused"));
    await vi.advanceTimersByTimeAsync(50);
    at("/v1/tasks/task_1").answer(task({ status: "paused" }));
    await vi.advanceTimersByTimeAsync(1);
    at("q=A").answer({ items: [task()], next_cursor: null });
    await found;
    expect(taskSignal("task_1")!.value.status).toBe("paused");
  });
  it("that was asked for before another's answer does not replace it", async () => {
    const slow = readTask("task_1");
    applyEvent(event("task.started", {}, "task_9"));
    const quick = readTask("task_1");
    asked[1]!.answer(task({ status: "paused" }));
    await quick;
    asked[0]!.answer(task());
    await slow;
    expect(taskSignal("task_1")!.value.status).toBe("paused");
  });
  it("does not move a bar back that has moved meanwhile", async () => {
    put(task());
    const reading = readTask("task_1");
    applyEvent(event("task.progress", { progress: { current: 7, total: 10, percentage: 70 } }));
    at("task_1").answer(task({ title: "B" }));
    await reading;
    expect(taskSignal("task_1")!.value).toMatchObject({ title: "B", progress: { percentage: 70 } });
  });
  it("that a bad line or a busy server has not given is asked for again", async () => {
    applyEvent(event("task.started"));
    await vi.advanceTimersByTimeAsync(50);
    asked[0]!.fail();
    await vi.advanceTimersByTimeAsync(2500);
    asked[1]!.answer({ error: { code: "rate_limited" } }, 429);
    await vi.advanceTimersByTimeAsync(2500);
    asked[2]!.answer(task());
    await vi.advanceTimersByTimeAsync(1);
    expect(taskSignal("task_1")!.value.title).toBe("A");
    await vi.advanceTimersByTimeAsync(10_000);
    expect(asked).toHaveLength(3);
  });
  it("is not asked for by those who are signed out", async () => {
    applyEvent(event("task.started"));
    await vi.advanceTimersByTimeAsync(50);
    asked[0]!.answer({}, 401);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(asked).toHaveLength(1);
  });
});

describe("the lists", () => {
  it("are at rest with more open tasks than a page holds", async () => {
    const many = Array.from({ length: 40 }, (_, n) => task({ task_id: `task_${n}`, status: "waiting" }));
    server = (path) => {
      const one = /tasks\/(task_\d+)/.exec(path)?.[1];
      if (one) return many.find((known) => known.task_id === one);
      return path.includes("running") ? { items: many.slice(0, 10), next_cursor: "further" } : { items: [], next_cursor: null };
    };
    many.forEach((one) => put(one));
    for (const one of many) applyEvent(event("task.waiting", {}, one.task_id));
    await vi.advanceTimersByTimeAsync(3000);
    const before = asked.length;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(asked).toHaveLength(before);
    expect(before).toBeLessThan(60);
  });
  it("find out what became of a task that none of them holds", async () => {
    put(task());
    server = (path) => (path.includes("task_1") ? task({ status: "succeeded" }) : { items: [], next_cursor: null });
    await loadTasks();
    expect(taskSignal("task_1")!.value.status).toBe("succeeded");
  });
  it("take no older answer after a newer one", async () => {
    const waiting: ((value: string) => void)[] = [];
    const taken: string[] = [];
    const load = newest(() => new Promise<string>((resolve) => waiting.push(resolve)), (found) => taken.push(found));
    const loads = [load(), load(), load()];
    waiting[1]!("second");
    await loads[1];
    waiting[0]!("first");
    await loads[0];
    waiting[2]!("third");
    await loads[2];
    expect(taken).toEqual(["second", "third"]);
  });
});

describe("a conversation", () => {
  const sent = (text: string, run: string): WireEvent => ({ seq: 5, time: "2026-11-21T08:00:05.000Z", type: "message.sent", session: "main", data: { session: "main", text, run_id: run } }) as unknown as WireEvent;
  const stored = { message_id: "1", role: "user", text: "hello", time: "2026-11-21T08:00:00.000Z", run_id: "run_1" };
  it("keeps what is said while its list is on its way", async () => {
    const conversation = new Conversation("main");
    const loading = conversation.load();
    conversation.hear(sent("hi there", "run_1"));
    at("/messages").answer({ items: [stored], next_cursor: null });
    await loading;
    expect(conversation.messages.value.map((one) => one.text)).toEqual(["hello", "hi there"]);
  });
  it("has a word once that the list and an event both tell", async () => {
    const conversation = new Conversation("main");
    const loading = conversation.load();
    conversation.hear(sent("hi there", "run_1"));
    at("/messages").answer({ items: [stored, { message_id: "2", role: "assistant", text: "hi there", time: "2026-11-21T08:00:05.000Z", run_id: "run_1" }], next_cursor: null });
    await loading;
    expect(conversation.messages.value.map((one) => one.text)).toEqual(["hello", "hi there"]);
  });
  it("keeps what one sends while its list is on its way", async () => {
    const conversation = new Conversation("main");
    const loading = conversation.load();
    const list = asked[0]!;
    const saying = conversation.say("and now?");
    asked[1]!.answer({ run_id: "run_2" });
    await saying;
    list.answer({ items: [stored], next_cursor: null });
    await loading;
    expect(conversation.messages.value.map((one) => one.text)).toEqual(["hello", "and now?"]);
  });
});

describe("a name", () => {
  it("is never an id", async () => {
    server = (path) => (path.includes("task_2") ? task({ title: "", kind: "remind" }) : undefined);
    expect(await titleOf("task_2")).toBe("Remind me");
    const unknown = titleOf("task_3");
    at("task_3").answer({ error: {} }, 404);
    expect(await unknown).toBe("");
  });
});
