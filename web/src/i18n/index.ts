/** What the panel says, in the reader's language. English is built in; other catalogues load when chosen. */

import { computed, signal } from "@preact/signals";
import { english, others, places } from "./catalogue";
import type { Key } from "./en";

export const LANGUAGES: Record<string, string> = { en: "English", zh: "中文" };

export const language = signal("en");
const texts = signal(english);
/** What the server calls by an English name, by `group.name`. */
const serverTexts = computed(() => Object.fromEntries(texts.value.slice(english.length).map((line) => line.split("\t"))) as Record<string, string>);

/** The text of a name (of its place, in built code). `{name}` is replaced by a parameter; `one|many` chooses by the parameter `n`. */
export function t(key: Key | number, values?: Record<string, string | number>): string {
  const place = typeof key === "number" ? key : places[key]!;
  let text = texts.value[place] ?? english[place] ?? String(key);
  if (text.includes("|") && values && "n" in values) {
    const [one = "", many] = text.split("|");
    text = values.n === 1 ? one : (many ?? one);
  }
  return values ? text.replace(/\{(\w+)\}/g, (whole, name: string) => (name in values ? String(values[name]) : whole)) : text;
}

/** A word of the wire (a status, a setting) in the reader's language, or as it is where we have none. */
export function word(group: string, value: string | null | undefined): string {
  if (!value) return "";
  const key = `${group}.${value}`;
  return key in places ? t(key as Key) : (serverTexts.value[key] ?? value.replace(/_/g, " ").replace(/\b(api|url|id)\b/g, (one) => one.toUpperCase()));
}

/** Sentences of the server, as patterns, each with what is said instead. */
const sentences = computed(() => Object.entries(serverTexts.value).filter(([name]) => name[0] === "^").map(([name, text]) => [new RegExp(name), text] as const));

/** The whole of it as one sentence (`=…`), or as a pattern with what stands in its gaps. */
function sentence(text: string): string | undefined {
  const whole = serverTexts.value[`=${text}`];
  if (whole) return whole;
  for (const [pattern, instead] of sentences.value) {
    const found = pattern.exec(text);
    if (found) return instead.replace(/\$(\d)/g, (_, gap: number) => said(found[gap]));
  }
  return undefined;
}

/** A sentence of the server in the reader's language, where we have it, also several in a row. A name in them may have a `; ` of its own. */
export function said(text: string | null | undefined): string {
  if (!text || text.length > 4000) return text ?? "";
  const whole = sentence(text);
  for (let at = text.indexOf("; "); !whole && at > 0; at = text.indexOf("; ", at + 2)) {
    const first = sentence(text.slice(0, at));
    if (first) return `${first}；${said(text.slice(at + 2))}`;
  }
  return whole ?? text;
}

/** What the server says of a thing, in the reader's language where we have it. */
export const about = (name: string, text: string | undefined): string | undefined => text && (serverTexts.value[`about.${name}`] ?? text);

export async function setLanguage(name: string): Promise<void> {
  const load = others[name];
  texts.value = load ? await load() : english;
  language.value = load ? name : "en";
  document.documentElement.lang = name === "zh" ? "zh-Hans" : "en";
}

export function preferredLanguage(stored: string | null): string {
  if (stored && stored in LANGUAGES) return stored;
  return navigator.languages.some((one) => one.toLowerCase().startsWith("zh")) && !navigator.languages[0]?.toLowerCase().startsWith("en") ? "zh" : "en";
}

/** The words of a group: what follows `group.` in the keys. */
export type Words<Group extends string> = Key extends infer K ? (K extends `${Group}.${infer Rest}` ? Rest : never) : never;
