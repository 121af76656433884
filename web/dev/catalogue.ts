/**
 * Texts by place instead of by name, for the built panel: names cost as many bytes as texts, three times over.
 *
 * `t("task.why")` becomes `t(7)`, as does a name that a table holds (`label: "nav.chat"`). Names stay where the code puts
 * them together (`status.${one}`, `word("wait", …)`); those come first, group by group. English is part of the program,
 * every other language a file of lines.
 */

import { readdirSync, readFileSync } from "node:fs";
import type { Plugin } from "vite";
import { en } from "../src/i18n/en";
import { zh } from "../src/i18n/zh";
import { zhServer } from "../src/i18n/zh-server";

/** What `t` is given: one name, or one of two. */
const CALL = /\bt\("[\w.]+"|\bt\([^()`,]+ \? "[\w.]+" : "[\w.]+"/g;
const HELD = /\b(?:label|group): "[\w.]+"/g;
const BUILT = /`([\w.]+)\.\$\{|\bword\("(\w+)"|\bgroup ?= ?"(\w+)"/g;
const NAME = /"([\w.]+)"/g;

type Names = Record<string, string[]>;

/** The order of the texts; the first ones keep their names, which stand by group. */
export function arranged(sources: string[]): { order: string[]; named: Names } {
  const keys = Object.keys(en);
  const groups = new Set<string>();
  for (const source of sources) {
    for (const [, ...found] of source.matchAll(BUILT)) for (const one of found) if (one) groups.add(one);
  }
  const named: Names = {};
  for (const key of keys) {
    const group = [...groups].find((one) => key.startsWith(`${one}.`));
    if (group !== undefined) (named[group] ??= []).push(key.slice(group.length + 1));
  }
  const first = Object.entries(named).flatMap(([group, names]) => names.map((name) => `${group}.${name}`));
  return { order: [...first, ...keys.filter((key) => !first.includes(key))], named };
}

/** The code with places for names; a name that is none is an error of the build. */
export function placed(code: string, place: Map<string, number>, id: string): string {
  return code.replace(CALL, (call) => call.replace(NAME, (whole, key: string, at: number) => {
    // What stands before the question mark is compared, not shown.
    if (call.includes(" ? ") && at < call.indexOf(" ? ")) return whole;
    if (!place.has(key)) throw new Error(`${id}: there is no text ${key}`);
    return String(place.get(key));
  })).replace(HELD, (held) => held.replace(NAME, (whole, key: string) => String(place.get(key) ?? whole)));
}

function lines(texts: Record<string, string>, order: string[]): string {
  const found = order.map((key) => texts[key]!);
  if (found.some((text) => text.includes("\n"))) throw new Error("a text may not have a line break");
  return found.join("\n");
}

export function catalogue(): Plugin {
  const root = new URL("../src/", import.meta.url);
  const files = readdirSync(root, { recursive: true, encoding: "utf8" }).filter((name) => /\.tsx?$/.test(name) && !name.startsWith("i18n/"));
  const { order, named } = arranged(files.sort().map((name) => readFileSync(new URL(name, root), "utf8")));
  const place = new Map(order.map((key, index) => [key, index]));
  return {
    name: "tawny-catalogue",
    apply: "build",
    enforce: "pre",
    transform(code, id) {
      if (id.endsWith("/i18n/catalogue.ts")) {
        const file = this.emitFile({ type: "asset", name: "zh.txt", source: [lines(zh, order), ...Object.entries(zhServer).map((entry) => entry.join("\t"))].join("\n") });
        return `
          export const places = Object.fromEntries(${JSON.stringify(Object.entries(named).map((one) => one.flat().join(" ")).join("|"))}.split("|").flatMap((line) => {
            const [group, ...names] = line.split(" ");
            return names.map((name) => group + "." + name);
          }).map((name, place) => [name, place]));
          export const english = ${JSON.stringify(lines(en, order))}.split("\\n");
          export const others = { zh: async () => (await (await fetch(import.meta.ROLLUP_FILE_URL_${file})).text()).split("\\n") };`;
      }
      if (!id.includes("/web/src/") || id.includes("/i18n/")) return null;
      return placed(code, place, id);
    },
  };
}
