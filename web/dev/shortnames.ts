/**
 * Short names for the built panel's own classes and custom properties: they are read by nobody but the browser.
 *
 * Only classes with a hyphen that no code puts together (`s-${status}`) and that no test looks for; properties that code sets stay.
 */

import { readdirSync, readFileSync } from "node:fs";
import type { Plugin } from "vite";

const CLASS = /\.([a-z]+-[a-z-]+)/g;
const PROPERTY = /--[a-z][\w-]*/g;
const PUT_TOGETHER = /(?<=[`" ])([a-z]+-)\$\{/g;
const TEMPLATE = /(?:class|tone)=\{`[^\n]*?`\}/g;
/** What the tests find things by. */
const KEPT = new Set(["hidden-character", "pair-code", "span-body", "field-error", "table-wrap", "task-title"]);
const LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

const short = (place: number): string => (place < LETTERS.length ? LETTERS[place]! : short(Math.floor(place / LETTERS.length) - 1) + LETTERS[place % LETTERS.length]);

export function shortened(styles: string, code: string): { classes: Map<string, string>; properties: Map<string, string> } {
  const prefixes = [...(code.match(TEMPLATE) ?? []).join("\n").matchAll(PUT_TOGETHER)].map(([, prefix]) => prefix!);
  const classes = [...new Set([...styles.matchAll(CLASS)].map(([, name]) => name!))].filter((name) => !KEPT.has(name) && !prefixes.some((prefix) => name.startsWith(prefix)));
  const properties = [...new Set(styles.match(PROPERTY))].filter((name) => !code.includes(`"${name}"`));
  return {
    classes: new Map(classes.map((name, place) => [name, `x${short(place)}`])),
    properties: new Map(properties.map((name, place) => [name, `--${short(place)}`])),
  };
}

export function shortNames(): Plugin {
  const root = new URL("../src/", import.meta.url);
  const read = (ending: RegExp) => readdirSync(root, { recursive: true, encoding: "utf8" }).filter((name) => ending.test(name)).sort().map((name) => readFileSync(new URL(name, root), "utf8")).join("\n");
  const { classes, properties } = shortened(read(/\.css$/), read(/\.tsx$/));
  return {
    name: "tawny-short-names",
    apply: "build",
    enforce: "pre",
    transform(code, id) {
      if (id.endsWith(".css")) return code.replace(CLASS, (whole, name: string) => (classes.has(name) ? `.${classes.get(name)}` : whole)).replace(PROPERTY, (name) => properties.get(name) ?? name);
      if (!id.endsWith(".tsx")) return null;
      return code.replace(/(?<=["`' ])[a-z]+-[a-z-]+(?=["`' $])/g, (name) => classes.get(name) ?? name);
    },
  };
}
