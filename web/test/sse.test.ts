import { describe, expect, it } from "vitest";
import { FrameParser } from "../src/sse";

describe("frames of the stream", () => {
  it("survive being cut anywhere", () => {
    const text = 'id: 7\ndata: {"type":"task.started"}\n\n: beat\n\nid: 8\ndata: one\ndata: two\n\n';
    for (let cut = 0; cut <= text.length; cut += 1) {
      const parser = new FrameParser();
      const frames = [...parser.push(text.slice(0, cut)), ...parser.push(text.slice(cut))];
      expect(frames).toEqual([
        { id: "7", event: null, data: '{"type":"task.started"}' },
        { id: "8", event: null, data: "one\ntwo" },
      ]);
    }
  });

  it("may end their lines with a carriage return too", () => {
    const parser = new FrameParser();
    expect([...parser.push("id: 1\r"), ...parser.push("\ndata: x\r\n\r\n")]).toEqual([{ id: "1", event: null, data: "x" }]);
  });

  it("without data are not told", () => {
    expect(new FrameParser().push("id: 3\n\n: comment\n\n")).toEqual([]);
  });
});
