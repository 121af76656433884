import { render } from "preact";
import { h } from "preact";
import { describe, expect, it } from "vitest";
import { Markdown } from "../src/ui/markdown";

function html(text: string): string {
  const root = document.createElement("div");
  render(h(Markdown, { text }), root);
  return root.firstElementChild!.innerHTML;
}

describe("markdown", () => {
  it("becomes elements", () => {
    expect(html("# Title\n\nA **bold** and _soft_ `x*y`.\n\n- one\n- two\n  - deep\n\n1. first")).toBe(
      "<h2>Title</h2><p>A <strong>bold</strong> and <em>soft</em> <code>x*y</code>.</p><ul><li>one</li><li>two<ul><li>deep</li></ul></li></ul><ol start=\"1\"><li>first</li></ol>");
  });
  it("never becomes markup, scripts or loaded images", () => {
    const root = document.createElement("div");
    render(h(Markdown, { text: "<script>x</script> <img src=x onerror=y> ![a](https://evil.example/pixel) [b](javascript:alert(1)) [c](data:text/html,x)" }), root);
    expect(root.querySelectorAll("script, img").length).toBe(0);
    expect([...root.querySelectorAll("a")].map((one) => one.getAttribute("href"))).toEqual(["https://evil.example/pixel"]);
  });
  it("shows escaped signs as they are", () => expect(html("a \\[\\[b\\]\\] \\*c\\*")).toBe("<p>a [[b]] *c*</p>"));
  it("links tasks by their id", () => expect(html("see task_01m7ypxhrs4f2wg9ww6zcvzmht")).toContain('href="#/tasks/task_01m7ypxhrs4f2wg9ww6zcvzmht"'));
  it("keeps a fence that is never closed", () => expect(html("```\ncode")).toContain("code"));
  it("draws tables", () => expect(html("| a | b |\n| --- | --- |\n| 1 | 2 |")).toContain("<td>2</td>"));
  it("ends for any text", () => {
    for (const text of ["", "\n\n", "#", "- ", "> > >", "|-|", "***", "[](", "```", "1.", "a\n\n\n- b\n\n   c"]) expect(() => html(text)).not.toThrow();
  });
});
