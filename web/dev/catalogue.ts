/**
 * Texts by place instead of by name, for the built panel: names cost as many bytes as texts, three times over.
 *
 * `t("task.why")` becomes `t(7)`. Names stay where the code puts them together (`status.${one}`, `word("wait", …)`) or
 * holds them as data; those come first in the list. English is part of the program, every other language a file of lines.
 */

import { readdirSync, readFileSync } from "node:fs";
import type { Plugin } from "vite";
import { en } from "../src/i18n/en";
import { zh } from "../src/i18n/zh";

const CALL = /\bt\("([\w.]+)"/g;
const BUILT = /`([\w.]+)\.\$\{|\bword\("(\w+)"|\bgroup ?= ?"(\w+)"/g;

export function arranged(sources: string[]): { order: string[]; named: number } {
  const keys = Object.keys(en);
  const groups = new Set<string>();
  const held = new Set<string>();
  for (const source of sources) {
    for (const [, ...found] of source.matchAll(BUILT)) for (const one of found) if (one) groups.add(`${one}.`);
    for (const [, literal] of source.replace(CALL, "").matchAll(/"([\w.]+)"/g)) held.add(literal!);
  }
  const isNamed = (key: string) => held.has(key) || [...groups].some((group) => key.startsWith(group));
  const named = keys.filter(isNamed);
  return { order: [...named, ...keys.filter((key) => !isNamed(key))], named: named.length };
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
        const file = this.emitFile({ type: "asset", name: "zh.txt", source: lines(zh, order) });
        return `
          export const places = Object.fromEntries(${JSON.stringify(order.slice(0, named).join(" "))}.split(" ").map((name, place) => [name, place]));
          export const english = ${JSON.stringify(lines(en, order))}.split("\\n");
          export const others = { zh: async () => (await (await fetch(import.meta.ROLLUP_FILE_URL_${file})).text()).split("\\n") };`;
      }
      if (!id.includes("/web/src/") || id.includes("/i18n/")) return null;
      return code.replace(CALL, (_, key: string) => {
        if (!place.has(key)) throw new Error(`${id}: there is no text ${key}`);
        return `t(${place.get(key)}`;
      });
    },
  };
}
