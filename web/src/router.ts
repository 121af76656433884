/** Pages and filters live behind the `#`: the server needs to know none of them, and a reload keeps them. */

import { computed, signal } from "@preact/signals";

export interface Place { path: string[]; query: URLSearchParams }

export function parse(hash: string): Place {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const safe = (part: string) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  };
  return { path: path.split("/").filter(Boolean).map(safe), query: new URLSearchParams(query) };
}

const hash = signal(location.hash);
export const place = computed(() => parse(hash.value));

/** Whether a reader has just come to another page, whose heading is then to be read out. */
export const arrival = { pending: false };

addEventListener("hashchange", () => {
  arrival.pending ||= parse(location.hash).path.join("/") !== parse(hash.peek()).path.join("/");
  hash.value = location.hash;
});

/** The address of a page, for links. */
export function to(path: string, query?: Record<string, string | null | undefined>): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) if (value) search.set(name, value);
  const text = search.toString();
  return `#/${path.split("/").map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`;
}

export function go(address: string): void {
  location.hash = address;
}

/** Change filters without a new entry in the history. */
export function setQuery(changes: Record<string, string | null>): void {
  const { path, query } = place.peek();
  const next = new URLSearchParams(query);
  for (const [name, value] of Object.entries(changes)) {
    if (value) next.set(name, value);
    else next.delete(name);
  }
  const text = next.toString();
  history.replaceState(null, "", `#/${path.map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`);
  hash.value = location.hash;
}

/**
 * Take a secret out of the address before anything else runs: `#token=…` of the sign-in link or `#pair=…` of a QR code.
 * Only these two words are read; nothing in an address ever says which server to talk to.
 */
export function takeSecret(): { token?: string; pair?: string } {
  const found = new URLSearchParams(location.hash.replace(/^#\/?\??/, ""));
  const token = found.get("token") ?? undefined;
  const pair = found.get("pair") ?? undefined;
  if (token !== undefined || pair !== undefined) {
    history.replaceState(null, "", `${location.pathname}#/`);
    hash.value = location.hash;
  }
  return { token, pair };
}
