/** The only door to the server: same origin, cookie, JSON, an idempotency key on every POST. */

import { signal } from "@preact/signals";
import type { Page } from "./types";

/** Whether the server takes us for signed in; `null` until it has said so. */
export const signedIn = signal<boolean | null>(null);

export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly hint: string,
    readonly body: unknown = null,
  ) {
    super(message);
  }

  /** The server does not know this route or thing. */
  get isMissing(): boolean {
    return this.status === 404 || this.status === 405 || this.status === 501;
  }
}

/** A random key. `crypto.randomUUID` exists only in secure contexts; a home network's plain http is none. */
export function randomKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

type Query = Record<string, string | number | boolean | null | undefined>;

export function withQuery(path: string, query?: Query): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== null && value !== undefined && value !== "") search.set(name, String(value));
  }
  const text = search.toString();
  return text ? `${path}?${text}` : path;
}

async function request<T>(method: string, path: string, body?: unknown, key?: string): Promise<T> {
  const headers: Record<string, string> = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (method === "POST") headers["Idempotency-Key"] = key ?? randomKey();
  let response: Response;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      cache: "no-store",
      redirect: "error",
    });
  } catch {
    throw new ApiError(0, "offline", "", "");
  }
  if (response.status === 401 && path !== "/v1/signin") signedIn.value = false;
  if (response.status === 204) return undefined as T;
  const text = await response.text();
  let document: unknown = null;
  try {
    document = text ? JSON.parse(text) : null;
  } catch {
    if (response.ok) return text as T;
  }
  if (response.ok) return document as T;
  const error = ((document as { error?: Record<string, unknown> } | null)?.error ?? {}) as Record<string, unknown>;
  throw new ApiError(
    response.status,
    String(error.code ?? response.status),
    String(error.message ?? response.statusText ?? response.status),
    String(error.hint ?? ""),
    document,
  );
}

export const get = <T>(path: string, query?: Query): Promise<T> => request<T>("GET", withQuery(path, query));
export const post = <T>(path: string, body: unknown = {}, key?: string): Promise<T> => request<T>("POST", path, body, key);
export const patch = <T>(path: string, body: unknown): Promise<T> => request<T>("PATCH", path, body);
export const del = <T>(path: string): Promise<T> => request<T>("DELETE", path);

/** What the server answers, or `fallback` where it has no such route. */
export async function optional<T, F>(answer: Promise<T>, fallback: F): Promise<T | F> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof ApiError && error.isMissing) return fallback;
    throw error;
  }
}

/** The entries of a listing's first page; none where the server has no such thing. */
export const list = <T>(path: string, query?: Query): Promise<T[]> => optional(get<Page<T>>(path, query).then((page) => page.items), []);

export async function signIn(token: string): Promise<void> {
  await post("/v1/signin", { token });
  signedIn.value = true;
}

export async function signOut(): Promise<void> {
  await optional(post("/v1/signout"), null);
  signedIn.value = false;
}
