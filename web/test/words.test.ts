import { describe, expect, it } from "vitest";
import { duration, revealed } from "../src/format";
import { en } from "../src/i18n/en";
import { zh } from "../src/i18n/zh";
import { about, language, said, setLanguage, t, word } from "../src/i18n";
import { zhServer } from "../src/i18n/zh-server";
import { parse, takeSecret } from "../src/router";

const SAME = ["origin.http", "origin.mcp", "source.mqtt", "source.webhook"];

describe("catalogues", () => {
  it("say the same things in every language", () => {
    expect(Object.keys(zh).sort()).toEqual(Object.keys(en).sort());
  });
  it("fill in the same values", () => {
    const holes = (text: string) => [...new Set(text.match(/\{\w+\}/g))].sort();
    for (const key of Object.keys(en) as (keyof typeof en)[]) expect(holes(zh[key]), key).toEqual(holes(en[key]));
  });
  it("say everything in both languages", () => {
    const names = /^(?:[\s\d{}\w.:/|–…·,“”"'()<>+-]*)$/;
    const same = Object.keys(en).filter((key) => zh[key as keyof typeof zh] === en[key as keyof typeof en] && names.test(en[key as keyof typeof en]));
    // Names of things are the same everywhere.
    expect(same.sort()).toEqual(SAME);
    for (const [key, text] of Object.entries(zhServer)) expect(text, key).toMatch(/\p{Script=Han}/u);
  });
  it("have the server's words where its own are English", async () => {
    await setLanguage("zh");
    expect([word("section", "gateway"), about("kind.remind", "Says a text at its time."), word("field", "no_such")]).toEqual(["网关", "到时间说出一段文字。", "no such"]);
    await setLanguage("en");
    expect([word("section", "gateway"), about("kind.remind", "Says it.")]).toEqual(["gateway", "Says it."]);
  });
  it("say a sentence of several and what stands in its gaps, and leave what is not known as it is", async () => {
    await setLanguage("zh");
    const reason = "mail.send is level 3: send mail; this run has read untrusted content (a; b) and wants to reach eve@x.example, which your own words do not name";
    expect(said(`It waits for a yes: ${reason}.`)).toBe("等待您同意：mail.send 属于 3 级：发送邮件；本次运行读过不可信内容（a; b），现在要联系 eve@x.example，而您自己并未提到。");
    expect([said("one; two"), said(""), said("rule 2 (amount > $100: deny) applies: mail; me")]).toEqual(["one; two", "", "规则 2（amount > $100：拒绝）适用：mail; me"]);
    await setLanguage("en");
    expect(said(reason)).toBe(reason);
  });
  it("choose between one and many", () => {
    expect([t("column.count", { n: 1 }), t("column.count", { n: 2 })]).toEqual(["1 entry", "2 entries"]);
  });
  it("change while the page stands", async () => {
    await setLanguage("zh");
    expect([t("nav.board"), language.value, document.documentElement.lang]).toEqual(["看板", "zh", "zh-Hans"]);
    await setLanguage("en");
  });
});

describe("text that a person approves", () => {
  it("names the characters that would hide or reorder it", () => {
    expect(revealed("rm\u202e x\u0000\u200b")).toEqual([
      { text: "rm", hidden: false }, { text: "RLO", hidden: true }, { text: " x", hidden: false }, { text: "NUL", hidden: true }, { text: "ZWSP", hidden: true },
    ]);
  });
  it("keeps line breaks and tabs as they are", () => {
    expect(revealed("a\n\tb")).toEqual([{ text: "a\n\tb", hidden: false }]);
  });
});

describe("durations", () => {
  it("are said as people say them", () => {
    expect([0.25, 9.96, 59, 61, 3600, 90_000].map(duration)).toEqual(["250 ms", "10 s", "59 s", "1 min 1 s", "1 h", "1 d 1 h"]);
  });
});

describe("durations at a border", () => {
  it("never have sixty of a unit that the next one counts", () => {
    expect([9.97, 59.7, 119.6, 3599, 7199, 86_399, 86_390, 172_799, 259_100].map(duration)).toEqual(
      ["10 s", "1 min", "2 min", "1 h", "2 h", "1 d", "1 d", "2 d", "3 d"]);
  });
});

describe("the address", () => {
  it("tells page and filters", () => {
    const place = parse("#/tasks/task_1?status=failed&q=a%20b");
    expect([place.path, place.query.get("status"), place.query.get("q")]).toEqual([["tasks", "task_1"], "failed", "a b"]);
  });
  it("loses the token at once", () => {
    location.hash = "#token=secret-1";
    expect(takeSecret()).toEqual({ token: "secret-1", pair: undefined });
    expect(location.href).not.toContain("secret-1");
  });
  it("never names a server to talk to", () => {
    location.hash = "#token=t&server=https://evil.example&gateway=wss://evil.example";
    expect(takeSecret()).toEqual({ token: "t", pair: undefined });
    expect(location.href).not.toContain("evil");
  });
});
