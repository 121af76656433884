import { readdirSync, readFileSync } from "node:fs";
import { dirname, relative, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { arranged, placed } from "../dev/catalogue";
import { shortened } from "../dev/shortnames";
import { en } from "../src/i18n/en";

const SRC = resolve(__dirname, "../src");
const files = readdirSync(SRC, { recursive: true, encoding: "utf8" }).filter((name) => /\.tsx?$/.test(name)).map((name) => resolve(SRC, name));

/** What each module imports, types left aside: those are gone when it runs. */
const imports = new Map(files.map((file) => {
  const found = [...readFileSync(file, "utf8").matchAll(/^import (?!type )[^;]*?from "(\.[^"]+)";/gm)].map(([, path]) => resolve(dirname(file), path!));
  return [file, found.flatMap((path) => [`${path}.ts`, `${path}.tsx`, `${path}/index.ts`].filter((one) => files.includes(one)))] as const;
}));

function circle(from: string, path: string[] = []): string[] | null {
  if (path.includes(from)) return [...path.slice(path.indexOf(from)), from];
  for (const next of imports.get(from) ?? []) {
    const found = circle(next, [...path, from]);
    if (found) return found;
  }
  return null;
}

describe("the modules", () => {
  it("import each other in no circle", () => {
    expect(circle(resolve(SRC, "main.tsx"))?.map((file) => relative(SRC, file)) ?? null).toBeNull();
  });
  it("keep the names of texts that are put together, and only those", () => {
    const { order, named } = arranged(['t("nav.board") + t(`status.${one}`) + word("wait", kind)', 'const label = "nav.chat"; t("task.state")']);
    expect(named.status).toContain("failed");
    expect(named.wait).toContain("timer");
    expect(Object.keys(named).sort()).toEqual(["status", "wait"]);
    expect([...order].sort()).toEqual(Object.keys(en).sort());
    expect(order.slice(0, 2)).toEqual(["status.queued", "status.running"]);
  });
  it("name texts only in ways that the build can put places for", () => {
    const known = /\bt\((?:"[\w.]+"|`[\w.]+\.\$\{[^}]+\}(?:\.\w+)?`|[^()`,]+ \? "[\w.]+" : "[\w.]+"|route\.label|group\)|key as Key\))/;
    for (const file of files.filter((one) => !one.includes("/i18n/en") && !one.includes("/i18n/zh"))) {
      for (const [call] of readFileSync(file, "utf8").matchAll(/(?<!function )\bt\([^\n]{1,160}/g)) expect(call, relative(SRC, file)).toMatch(known);
    }
  });
  it("use every text that a catalogue has", () => {
    const code = files.filter((one) => !/\/i18n\/(en|zh)/.test(one)).map((one) => readFileSync(one, "utf8"));
    const { named } = arranged(code);
    const puttogether = Object.entries(named).flatMap(([group, names]) => names.map((name) => `${group}.${name}`));
    const unused = Object.keys(en).filter((key) => !puttogether.includes(key) && !code.some((text) => text.includes(`"${key}"`)));
    expect(unused).toEqual([]);
  });
  it("put a place for a name, of two the one that is shown", () => {
    const place = new Map([["a.b", 3], ["c.d", 4]]);
    expect(placed('t("a.b") t(x === "c.d" ? "a.b" : "c.d") { label: "c.d" }', place, "x")).toBe('t(3) t(x === "c.d" ? 3 : 4) { label: 4 }');
    expect(() => placed('t("no.such")', place, "x")).toThrow("there is no text no.such");
  });
  it("shorten no class that code puts together, and no property that code sets", () => {
    const { classes, properties } = shortened(".a-b{} .s-done{--left:1;--far:2}", 'class={`s-${x}`} style={{ "--left": 1 }}');
    expect([...classes.keys(), ...properties.keys()]).toEqual(["a-b", "--far"]);
  });
  it("say nothing to people but by the catalogues", () => {
    // Names of things, commands and examples are the same in every language.
    const names = new Set(["Tawny", "RRULE", "ID", "CSV", "JSON Lines", "config.toml", "tawny gateway restart", "tawny gateway run", "workspace/skills/NAME/SKILL.md", "tawny config set KEY VALUE", "404", "30m", "task.run", "owner", "3", "{ }", "https://"]);
    const found = new Map<string, string>();
    for (const file of files.filter((one) => one.endsWith(".tsx"))) {
      const code = readFileSync(file, "utf8").replace(/^\s*\/?\*.*$|\/\/ .*$/gm, "");
      for (const [, text] of code.matchAll(/<[\w.]+(?: [^<>]*?)?>([^<>{}()=;]*[A-Za-z][^<>{}()=;]*)<\//g)) found.set(text!.trim(), relative(SRC, file));
      for (const [, text] of code.matchAll(/\b(?:title|label|placeholder|aria-label|alt|hint|lead)="([^"]+)"/g)) found.set(text!, relative(SRC, file));
    }
    expect([...found].filter(([text]) => !names.has(text))).toEqual([]);
    expect(found.has("RRULE")).toBe(true);
  });
});
