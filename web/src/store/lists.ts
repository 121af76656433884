/** The short lists that every page may need: approvals and automations. */

import { computed, signal } from "@preact/signals";
import { list } from "../api";
import type { Approval, Automation } from "../types";
import { onEvent, onSnapshot } from "./live";

export const approvals = signal<Approval[]>([]);
export const pendingApprovals = computed(() => approvals.value.filter((one) => one.status === "pending"));
export const automations = signal<Automation[]>([]);

/** A message kept in the inbox. */
export interface Kept { delivery_id: string; task_id: string | null; severity: string; title: string; text: string; created_at: string; read_at?: string | null }
export const inbox = signal<Kept[]>([]);
export const unread = computed(() => inbox.value.filter((one) => !one.read_at));

/** A list that may be asked for again before it has answered: an older answer that arrives later changes nothing. */
export function newest<T>(load: () => Promise<T>, take: (found: T) => void): () => Promise<void> {
  let asked = 0;
  let taken = 0;
  return async () => {
    const mine = (asked += 1);
    const found = await load();
    if (mine < taken) return;
    taken = mine;
    take(found);
  };
}

export const loadInbox = newest(() => list<Kept>("/v1/inbox", { limit: 100 }), (found) => {
  inbox.value = found;
});
export const loadApprovals = newest(() => list<Approval>("/v1/approvals", { limit: 200 }), (found) => {
  approvals.value = found;
});
export const loadAutomations = newest(() => list<Automation>("/v1/automations", { limit: 500 }), (found) => {
  automations.value = found.map(withId);
});

/** The document may call its id `task_id` or `automation_id`. */
export function withId(document: Automation): Automation {
  const any = document as unknown as Record<string, string>;
  return { ...document, id: document.id ?? any.automation_id ?? any.task_id };
}

export function putApproval(approval: Approval): void {
  const others = approvals.value.filter((one) => one.approval_id !== approval.approval_id);
  approvals.value = [approval, ...others].sort((a, b) => (a.created_at < b.created_at ? 1 : -1));
}

/** Run `job` once, `delay` milliseconds after the first of several calls. */
export function soon(job: () => Promise<unknown>, delay = 80): () => void {
  let timer: number | null = null;
  return () => {
    timer ??= setTimeout(() => {
      timer = null;
      job().catch(() => {});
    }, delay) as unknown as number;
  };
}

export function connectLists(): void {
  const approvalsSoon = soon(loadApprovals);
  const automationsSoon = soon(loadAutomations, 200);
  onSnapshot(loadApprovals);
  onSnapshot(loadAutomations);
  const inboxSoon = soon(loadInbox, 150);
  onSnapshot(loadInbox);
  onEvent((event) => {
    if (event.type.startsWith("approval.")) {
      const id = event.data.approval_id;
      const status = event.type === "approval.expired" ? "expired" : event.data.status;
      if (status === "approved" || status === "denied" || status === "expired") {
        approvals.value = approvals.value.map((one) =>
          one.approval_id === id ? { ...one, status, answered_by: String(event.data.by ?? event.data.answered_by ?? "") || null } : one);
      }
      approvalsSoon();
    }
    if (event.type.startsWith("automation.")) automationsSoon();
    if (event.type.startsWith("delivery.")) inboxSoon();
  });
}
