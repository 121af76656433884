/** Times, amounts and sizes, in the reader's language. */

import { language, said, t } from "./i18n";

/** The reader's own way of writing the language: not everybody who reads English has the month before the day. */
const locale = (): string => navigator.languages.find((one) => one.split("-")[0] === language.value) ?? language.value;

const cache = new Map<string, unknown>();
function intl<T>(name: string, make: () => T): T {
  const key = `${locale()}:${name}`;
  if (!cache.has(key)) cache.set(key, make());
  return cache.get(key) as T;
}

/** Seconds as a person says them: `45 s`, `3 min`, `2 h 5 min`, `4 d`. */
export function duration(seconds: number): string {
  const s = Math.max(0, seconds);
  if (s < 1) return s === 0 ? t("unit.s", { n: 0 }) : t("unit.ms", { n: Math.max(1, Math.round(s * 1000)) });
  if (s < 9.95) return t("unit.s", { n: Math.round(s * 10) / 10 });
  // Rounded to the smallest unit that is shown before it is taken apart: never "23 h 60 min".
  const whole = Math.round(s);
  if (whole < 60) return t("unit.s", { n: whole });
  if (whole < 300 && whole % 60) return `${t("unit.min", { n: Math.floor(whole / 60) })} ${t("unit.s", { n: whole % 60 })}`;
  const minutes = Math.round(s / 60);
  if (minutes < 60) return t("unit.min", { n: minutes });
  const hours = Math.round(s / 3600);
  if (minutes < 1440) return minutes % 60 ? `${t("unit.h", { n: Math.floor(minutes / 60) })} ${t("unit.min", { n: minutes % 60 })}` : t("unit.h", { n: minutes / 60 });
  if (hours < 72 && hours % 24) return `${t("unit.d", { n: Math.floor(hours / 24) })} ${t("unit.h", { n: hours % 24 })}`;
  return t("unit.d", { n: Math.round(s / 86_400) });
}

/** How far a time is from `now`: `in 5 min`, `3 h ago`, `just now`. */
export function relative(time: string | null | undefined, now: number): string {
  if (!time) return "";
  const seconds = (Date.parse(time) - now) / 1000;
  const size = Math.abs(seconds);
  if (Number.isNaN(size)) return time;
  if (size < 5) return t("time.now");
  const format = intl("relative", () => new Intl.RelativeTimeFormat(locale(), { numeric: "auto", style: "short" }));
  const steps: [number, number, Intl.RelativeTimeFormatUnit][] = [[60, 1, "second"], [3600, 60, "minute"], [86_400, 3600, "hour"], [2_592_000, 86_400, "day"], [31_536_000, 2_592_000, "month"]];
  for (const [below, unit, name] of steps) if (size < below) return format.format(Math.round(seconds / unit), name);
  return format.format(Math.round(seconds / 31_536_000), "year");
}

const CLOCK: Intl.DateTimeFormatOptions = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };

function dated(name: string, date: Date, options: Intl.DateTimeFormatOptions): string {
  return intl(name, () => new Intl.DateTimeFormat(locale(), options)).format(date);
}

/** What is no time stays as it is. */
function parsed(time: string | null | undefined, say: (date: Date) => string): string {
  const date = new Date(time ?? "");
  return Number.isNaN(date.getTime()) ? (time ?? "") : say(date);
}

export const clock = (time: string | null | undefined): string => parsed(time, (date) => dated("clock", date, CLOCK));
/** With seconds, as a log has it. */
export const clockSeconds = (time: string): string => parsed(time, (date) => dated("seconds", date, { ...CLOCK, second: "2-digit" }));

/** Day and time, the day left out when it is today. */
export function moment(time: string | null | undefined, now: number): string {
  return parsed(time, (date) => {
    const today = new Date(now);
    if (date.toDateString() === today.toDateString()) return clock(time);
    const sameYear = date.getFullYear() === today.getFullYear();
    return dated(`moment${sameYear}`, date, { weekday: "short", day: "numeric", month: "short", year: sameYear ? undefined : "numeric", ...CLOCK });
  });
}

export const fullTime = (time: string | null | undefined): string => parsed(time, (date) => dated("full", date, { dateStyle: "full", timeStyle: "long" }));

export const day = (date: Date): string => dated("day", date, { weekday: "short", day: "numeric" });
export const longDay = (date: Date): string => dated("long", date, { dateStyle: "long" });

export function number(value: number, digits = 0): string {
  return intl(`number${digits}`, () => new Intl.NumberFormat(locale(), { maximumFractionDigits: digits })).format(value);
}

export function compact(value: number): string {
  return intl("compact", () => new Intl.NumberFormat(locale(), { notation: "compact", maximumFractionDigits: 1 })).format(value);
}

export function money(value: number | null | undefined): string {
  if (value === null || value === undefined) return t("usage.unknown_price");
  const digits = value !== 0 && Math.abs(value) < 0.1 ? 4 : 2;
  return intl(`money${digits}`, () => new Intl.NumberFormat(locale(), { style: "currency", currency: "USD", minimumFractionDigits: 2, maximumFractionDigits: digits })).format(value);
}

export function percent(share: number): string {
  return intl("percent", () => new Intl.NumberFormat(locale(), { style: "percent", maximumFractionDigits: 1 })).format(share);
}

export function bytes(size: number | null | undefined): string {
  if (size === null || size === undefined) return "";
  if (size < 1000) return `${size} B`;
  if (size < 1e6) return `${number(size / 1e3, 1)} kB`;
  if (size < 1e9) return `${number(size / 1e6, 1)} MB`;
  return `${number(size / 1e9, 1)} GB`;
}

/** The part of an id that tells two apart at a glance. */
export const shortId = (id: string): string => id.replace(/^([a-z]+)_.*?(.{6})$/, "$1_…$2");
export const shortIds = (text: string): string => text.replace(/\b[a-z]{3,6}_[0-9a-z]{20,}\b/g, shortId);
/** What the server says, in the reader's language, times and ids as people read them. */
export const spoken = (text: string | null | undefined, now: number): string => shortIds(said(text)).replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, (time) => moment(time, now));

const NAMES: Record<string, string> = { "\u0000": "NUL", "\u001b": "ESC", "\u007f": "DEL", "\u200b": "ZWSP", "\u200e": "LRM", "\u200f": "RLM", "\u202a": "LRE", "\u202b": "RLE", "\u202c": "PDF", "\u202d": "LRO", "\u202e": "RLO", "\u2066": "LRI", "\u2067": "RLI", "\u2068": "FSI", "\u2069": "PDI", "\ufeff": "BOM" };
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb]|\udb40[\udc00-\udfff]/g;

/**
 * Text cut into visible pieces and characters that would hide or reorder it. What a person is asked to approve is shown
 * as it is, so a control character appears by its name instead of doing its work.
 */
export function revealed(text: string): { text: string; hidden: boolean }[] {
  const pieces: { text: string; hidden: boolean }[] = [];
  let last = 0;
  for (const match of text.matchAll(HIDDEN)) {
    if (match.index > last) pieces.push({ text: text.slice(last, match.index), hidden: false });
    const char = match[0];
    pieces.push({ text: NAMES[char] ?? `U+${char.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")}`, hidden: true });
    last = match.index + char.length;
  }
  if (last < text.length) pieces.push({ text: text.slice(last), hidden: false });
  return pieces;
}
