/** The documents of the wire, as the contract writes them. Times are ISO 8601 texts, durations texts such as `90s`. */

export type Status =
  | "queued" | "running" | "waiting" | "paused"
  | "succeeded" | "failed" | "timed_out" | "cancelled" | "lost";

export const TERMINAL: ReadonlySet<Status> = new Set(["succeeded", "failed", "timed_out", "cancelled", "lost"]);

export interface Progress {
  current: number;
  total: number | null;
  percentage: number | null;
  unit: string | null;
  message: string | null;
}

export interface Failure { kind: string; message: string; step?: string | null }

export interface WaitingFor {
  kind: "timer" | "event" | "approval" | "child" | "budget" | "reconcile";
  key?: string;
  until?: string | null;
  [detail: string]: unknown;
}

export interface Usage {
  input_tokens: number; output_tokens: number; cost: number | null;
  wall_seconds: number; cpu_seconds: number; model_calls: number; tool_calls: number;
}

export interface Target { target: string; status: string; receipt?: unknown; error?: unknown; updated_at?: string }

export interface LogLine { time: string; level: string; message: string }

export interface Artifact {
  artifact_id: string; name: string; media_type?: string; size?: number; partial?: boolean; created_at?: string;
}

export interface Task {
  task_id: string;
  execution_id: string | null;
  attempt: number;
  automation_id: string | null;
  parent_id: string | null;
  flow_id: string | null;
  runtime: string;
  kind: string;
  title: string;
  owner: string;
  session: string | null;
  status: Status;
  priority: string;
  notify: string;
  progress: Progress | null;
  logs?: LogLine[];
  created_at: string;
  started_at: string | null;
  ended_at: string | null;
  estimated_completion: string | null;
  next_attempt_at: string | null;
  not_before?: string | null;
  waiting_for: WaitingFor | null;
  verdict: unknown;
  result: Record<string, unknown> | null;
  error: Failure | null;
  delivery: { status: string; targets: (Target | string)[] } | null;
  usage: Usage | null;
  artifacts?: (Artifact | string)[];
  params?: Record<string, unknown>;
  origin?: Record<string, unknown>;
  intent?: string | null;
  merged_into?: string | null;
}

export interface Step {
  key: string; name: string; status: "running" | "succeeded" | "failed" | "uncertain"; effect: string;
  attempts: number; started_at: string; ended_at: string | null; result: unknown; error: unknown;
}

export interface Execution {
  execution_id: string; attempt: number; started_at: string; ended_at: string | null;
  outcome: string | null; error: Failure | string | null;
}

export interface Delivery {
  delivery_id: string; target: string; status: string; attempts: number; next_at?: string | null; next_attempt_at?: string | null; held_until?: string | null;
  receipt?: unknown; error?: unknown; created_at: string; updated_at: string;
}

export interface Approval {
  approval_id: string; task_id: string | null;
  status: "pending" | "approved" | "denied" | "expired";
  tool: string; operation: string | null; arguments: Record<string, unknown>;
  level: string | number | null; reason: string | null; origin: unknown;
  created_at: string; expires_at: string | null;
  answered_by: string | null; answered_at: string | null; note: string | null;
  read?: unknown[]; rule?: unknown;
}

export interface Schedule {
  type: "cron" | "every" | "at" | "rrule" | "after";
  expression?: string; timezone?: string; interval?: string; anchor?: string; time?: string; start?: string; delay?: string;
}

export interface Automation {
  id: string;
  name: string;
  type: "scheduled" | "delayed" | "event" | "continuous";
  schedule?: Schedule;
  on?: { source: string; filter?: string };
  watch?: { probe: Record<string, unknown>; every: string; condition: string; rearm?: string };
  action: { type: string; parameters: Record<string, unknown> };
  delivery?: { channels?: string[]; priority?: string };
  policy?: Record<string, unknown>;
  status: "active" | "paused" | "completed" | "disabled";
  created_at?: string; last_run?: string | null; next_run?: string | null;
}

export interface Occurrence {
  slot: string; status: "ran" | "caught_up" | "missed" | "skipped" | "planned";
  task_id: string | null; reason: string | null; merged_into?: string | null;
  automation_id?: string; name?: string;
}

export interface WireEvent {
  seq?: number; time: string; type: string; task_id: string | null; session?: string | null; data: Record<string, unknown>;
}

export interface Page<T> { items: T[]; next_cursor: string | null }

export interface ServerStatus {
  version?: string; seq?: number; time?: string; started_at?: string; timezone?: string; model?: string;
  you?: { name?: string; role?: string; scopes?: string[] };
  paused?: boolean; counts?: Partial<Record<Status, number>>; ready?: boolean;
  problems?: { severity: string; message: string; hint?: string }[];
  [key: string]: unknown;
}
