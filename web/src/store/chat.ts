/** A conversation as it grows: what is stored, what is being said right now, what we have just sent. */

import { signal, type Signal } from "@preact/signals";
import { list, post } from "../api";
import type { WireEvent } from "../types";

export interface Message {
  message_id: string;
  role: "user" | "assistant" | "tool" | "system";
  text: string;
  time: string;
  run_id?: string;
  task_ids?: string[];
  tool?: { name: string; arguments?: unknown; result?: unknown };
  /** Not yet confirmed by the server. */
  sending?: boolean;
  failed?: boolean;
}

export class Conversation {
  readonly messages: Signal<Message[]> = signal([]);
  /** What is being said, by run. */
  readonly streaming: Signal<Record<string, string>> = signal({});
  /** Runs that were asked for and have not answered yet. */
  readonly pending: Signal<string[]> = signal([]);
  readonly loaded = signal(false);

  constructor(readonly key: string) {}

  private get path(): string {
    return `/v1/sessions/${encodeURIComponent(this.key)}/messages`;
  }

  async load(): Promise<void> {
    const before = new Set(this.messages.value);
    const found = await list<Message>(this.path, { limit: 200 });
    const stored = found.sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : Number(a.message_id) - Number(b.message_id) || 0));
    // What was said while the list was on its way is not in it.
    const fresh = this.messages.value.filter((one) => one.sending || one.failed || !before.has(one));
    this.messages.value = [...stored, ...fresh.filter((one) => !stored.some((other) => this.isSame(other, one) || (one.role === "user" && other.role === "user" && other.run_id && other.run_id === one.run_id)))];
    const answered = new Set(stored.filter((one) => one.role === "assistant").map((one) => one.run_id));
    this.pending.value = this.pending.value.filter((run) => !answered.has(run));
    this.loaded.value = true;
  }

  async say(text: string): Promise<void> {
    const local: Message = { message_id: `local-${Date.now()}`, role: "user", text, time: new Date().toISOString(), sending: true };
    this.messages.value = [...this.messages.value, local];
    const replace = (change: Partial<Message>) => {
      this.messages.value = this.messages.value.map((one) => (one.message_id === local.message_id ? { ...one, ...change } : one));
    };
    try {
      const { run_id } = await post<{ run_id: string; status?: string; text?: string }>(this.path, { text });
      replace({ run_id, sending: false });
      this.settle(run_id);
      if (!this.messages.value.some((one) => one.role === "assistant" && one.run_id === run_id)) this.pending.value = [...this.pending.value, run_id];
    } catch (error) {
      replace({ sending: false, failed: true });
      throw error;
    }
  }

  /** One message of a person per run: the stored one takes the place of what we showed while sending. */
  private settle(run: string): void {
    const stored = this.messages.value.some((one) => one.role === "user" && one.run_id === run && !one.message_id.startsWith("local-"));
    if (stored) this.messages.value = this.messages.value.filter((one) => !(one.message_id.startsWith("local-") && one.run_id === run));
  }

  /** The list and the events may name a message differently; a stream that resumes tells again what the list holds. */
  private isSame(known: Message, told: Message): boolean {
    if (known.message_id === told.message_id) return true;
    if (known.role !== told.role || known.text !== told.text || known.message_id.startsWith("local-")) return false;
    return told.run_id ? known.run_id === told.run_id : Math.abs(Date.parse(known.time) - Date.parse(told.time)) < 120_000;
  }

  hear(event: WireEvent): void {
    const data = event.data as Record<string, unknown>;
    if ((data.session ?? event.session) !== this.key) return;
    const run = String(data.run_id ?? "");
    if (event.type === "message.delta") {
      const { [run]: before = "", ...others } = this.streaming.value;
      if (data.kind === "void") this.streaming.value = others;
      else if (data.kind === undefined || data.kind === "text") this.streaming.value = { ...others, [run]: before + String(data.text ?? "") };
      return;
    }
    if (event.type !== "message.received" && event.type !== "message.sent") return;
    const message: Message = {
      message_id: String(data.message_id ?? `${event.type}-${event.seq}`),
      role: (data.role as Message["role"]) ?? (event.type === "message.sent" ? "assistant" : "user"),
      text: String(data.text ?? ""),
      time: event.time,
      run_id: run || undefined,
      task_ids: (data.task_ids as string[] | undefined) ?? [],
    };
    if (event.type === "message.sent") {
      const { [run]: _, ...others } = this.streaming.value;
      this.streaming.value = others;
      this.pending.value = this.pending.value.filter((one) => one !== run);
    }
    if (this.messages.value.some((one) => this.isSame(one, message))) return;
    const local = this.messages.value.findLast((one) => one.message_id.startsWith("local-") && message.role === "user" && (one.run_id === run || (one.sending && one.text === message.text)));
    this.messages.value = local ? this.messages.value.map((one) => (one === local ? message : one)) : [...this.messages.value, message];
  }
}
