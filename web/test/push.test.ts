import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";

/** Runs the service worker's code with a stand-in for the worker's global scope. */
function worker() {
  const handlers: Record<string, (event: unknown) => void> = {};
  const shown: { title: string; options: { actions: { action: string }[]; data: Record<string, unknown> } }[] = [];
  const opened: string[] = [];
  const posts: string[] = [];
  const scope = {
    location: { origin: "http://panel.test" },
    navigator: { language: "en-GB" },
    addEventListener: (name: string, handler: (event: unknown) => void) => {
      handlers[name] = handler;
    },
    registration: { showNotification: async (title: string, options: never) => void shown.push({ title, options }) },
    clients: { matchAll: async () => [], openWindow: async (address: string) => void opened.push(address), claim: async () => {} },
    skipWaiting: async () => {},
  };
  let status = 200;
  const fetcher = async (address: string) => {
    posts.push(address);
    return { ok: status < 400, status };
  };
  const source = readFileSync("src/sw.js", "utf8").replace('"__SHELL__"', "[]");
  new Function("self", "caches", "fetch", source)(scope, {}, fetcher);
  const send = async (name: string, event: Record<string, unknown>) => {
    const work: Promise<unknown>[] = [];
    handlers[name]!({ ...event, waitUntil: (one: Promise<unknown>) => work.push(one) });
    await Promise.all(work);
  };
  const click = (action: string, data: Record<string, unknown>) => send("notificationclick", { action, notification: { data, close: () => {} } });
  return { send, click, shown, opened, posts, answerWith: (code: number) => (status = code) };
}

describe("a pushed message", () => {
  it("about an approval offers both answers", async () => {
    const { send, shown } = worker();
    await send("push", { data: { json: () => ({ title: "A yes is needed", approval_id: "appr_1" }) } });
    expect(shown[0]!.options.actions.map((one) => one.action)).toEqual(["approve", "deny"]);
  });
  it("about a task offers none", async () => {
    const { send, shown } = worker();
    await send("push", { data: { json: () => ({ title: "Done", task_id: "task_1" }) } });
    expect(shown[0]!.options.actions).toEqual([]);
  });
  it("is answered without opening anything", async () => {
    const { click, posts, opened, shown } = worker();
    await click("deny", { approval_id: "appr_1" });
    expect([posts, opened, shown.at(-1)!.title]).toEqual([["/v1/approvals/appr_1/deny"], [], "Denied"]);
  });
  it("answered elsewhere before says so", async () => {
    const { click, shown, answerWith } = worker();
    answerWith(409);
    await click("approve", { approval_id: "appr_1" });
    expect(shown.at(-1)!.title).toBe("Already answered elsewhere");
  });
  it("opens this panel only, whatever address it carries", async () => {
    const { click, opened } = worker();
    await click("", { url: "https://evil.example/" });
    await click("", { url: "//evil.example/#/" });
    await click("", { task_id: "../x" });
    expect(opened).toEqual(["/", "/", "/#/tasks/..%2Fx"]);
  });
});
