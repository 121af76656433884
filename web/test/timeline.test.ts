import { describe, expect, it } from "vitest";
import { kindOf } from "../src/ui/timeline";
import type { Step } from "../src/types";

const step = (key: string, name: string): Step => ({ key, name, status: "running", started_at: "2026-11-21T08:00:00Z", ended_at: null, attempts: 1, result: null, error: null, effect: "none" });

describe("the kind of a step", () => {
  it("is a wait where its name says so, whatever its key", () => {
    expect(kindOf(step("nap", "wait: timer"))).toBe("wait");
    expect(kindOf(step("wait-for-mail", "mail"))).toBe("wait");
  });
  it("is an approval where a person is waited for", () => expect(kindOf(step("send", "wait: approval"))).toBe("approval"));
  it("is a step else", () => expect(kindOf(step("await", "awaited"))).toBe("step"));
});
