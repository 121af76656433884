/** What a task did and when: attempts, their steps, model and tool calls, waits – drawn against the clock. */

import { useState } from "preact/hooks";
import { said, t, word } from "../i18n";
import { duration } from "../format";
import { now } from "../store/live";
import { TERMINAL, type Approval, type Execution, type Step, type Task } from "../types";
import { Icon, type IconName } from "./icon";
import { asText, Button, Plain, StatusChip, When, Card } from "./parts";

export interface Span { id: string; kind: "step" | "model" | "tool" | "wait" | "approval"; name: string; status: string; start: number; end: number; open: boolean; attempts: number; result: unknown; error: unknown; effect: string }

const ICON: Record<Span["kind"], IconName> = { step: "check", model: "spark", tool: "tool", wait: "clock", approval: "hand" };

/** What a step is, told from its key: the agent writes `model:…`, `tool:…`, `ask:…`; waits say what they wait for. */
export function kindOf(step: Step): Span["kind"] {
  const text = `${step.key} ${step.name}`.toLowerCase();
  if (/^(ask|approval|wait:appr)|approval/.test(text)) return "approval";
  if (/^(model|llm)\b|\bmodel:/.test(text)) return "model";
  if (/^(tool|call)\b|\btool:/.test(text)) return "tool";
  if (/^(wait|sleep|timer|event|child)\b|\bwait:/.test(text)) return "wait";
  return "step";
}

export function spansOf(steps: Step[], present: number): Span[] {
  return steps.map((step) => ({
    id: step.key, kind: kindOf(step), name: said(step.name || step.key).replace(/^wait: (\w+)$/, (_, kind: string) => word("wait", kind)), status: step.status, start: Date.parse(step.started_at), end: step.ended_at ? Date.parse(step.ended_at) : present,
    open: !step.ended_at, attempts: step.attempts, result: step.result, error: step.error, effect: step.effect,
  })).sort((a, b) => a.start - b.start);
}

export interface Attempt { execution: Execution | null; spans: Span[] }

/** The spans of each attempt: a step belongs to the last attempt that had begun when it started. */
export function attemptsOf(executions: Execution[], spans: Span[]): Attempt[] {
  if (!executions.length) return spans.length ? [{ execution: null, spans }] : [];
  const sorted = [...executions].sort((a, b) => a.attempt - b.attempt || (a.started_at < b.started_at ? -1 : 1));
  const attempts: Attempt[] = sorted.map((execution) => ({ execution, spans: [] }));
  for (const span of spans) {
    const owner = attempts.findLast((one) => Date.parse(one.execution!.started_at) <= span.start) ?? attempts[0]!;
    owner.spans.push(span);
  }
  return attempts;
}

function Row({ span, from, length }: { span: Span; from: number; length: number }) {
  const [open, setOpen] = useState(false);
  const left = ((span.start - from) / length) * 100;
  const width = Math.max(0.6, ((span.end - span.start) / length) * 100);
  const body = span.error ?? span.result;
  return (
    <li class={`span k-${span.kind} s-${span.status}`} data-step={span.id}>
      <button type="button" aria-expanded={open} onClick={() => setOpen(!open)}>
        <span class="span-name"><Icon name={span.status === "failed" ? "close" : span.status === "uncertain" ? "alert" : ICON[span.kind]} size={15} /><span>{span.name}</span>{span.attempts > 1 && <span class="faint">×{span.attempts}</span>}</span>
        <span class="span-track" aria-hidden="true"><i style={{ "--left": `${Math.min(99, left)}%`, "--width": `${Math.min(100 - Math.min(99, left), width)}%` }} /></span>
        <span class="span-time">{span.open ? t("status.running") : duration((span.end - span.start) / 1000)}</span>
      </button>
      {open && (
        <div class="span-body">
          <p class="row"><StatusChip status={span.status} /><span class="hint">{word("effect", span.effect)}</span><span class="hint"><When time={new Date(span.start).toISOString()} as="moment" /></span><span class="hint mono">{span.id}</span></p>
          {body !== null && body !== undefined ? <Plain block text={asText(body)} /> : <p class="hint">{t("timeline.nothing")}</p>}
        </div>
      )}
    </li>
  );
}

interface TimelineProps { task: Task; steps: Step[]; executions: Execution[]; approvals: Approval[] }

export function Timeline({ task, steps, executions, approvals }: TimelineProps) {
  const [failedOnly, setFailedOnly] = useState(false);
  const [limit, setLimit] = useState(120);
  const live = !TERMINAL.has(task.status);
  const present = live ? now.value : Date.parse(task.ended_at ?? task.created_at);
  const known = new Set(steps.map((step) => step.key));
  const asked: Span[] = approvals.filter((one) => ![...known].some((key) => key.includes(one.approval_id))).map((one) => ({
    id: one.approval_id, kind: "approval", name: t("timeline.asked", { tool: word("tool", one.tool) }), status: one.status === "pending" ? "waiting" : one.status === "approved" ? "succeeded" : "failed", start: Date.parse(one.created_at),
    end: one.answered_at ? Date.parse(one.answered_at) : present, open: one.status === "pending", attempts: 1, result: { status: one.status, by: one.answered_by, note: one.note }, error: null, effect: "",
  }));
  const hasApprovalSteps = steps.some((step) => kindOf(step) === "approval");
  const spans = [...spansOf(steps, present), ...(hasApprovalSteps ? [] : asked)].sort((a, b) => a.start - b.start);
  const shown = failedOnly ? spans.filter((span) => span.status === "failed" || span.status === "uncertain") : spans;
  const attempts = attemptsOf(executions, shown);
  const failures = spans.filter((span) => span.status === "failed" || span.status === "uncertain").length;
  let left = limit;
  return (
    <Card title={t("timeline")} end={failures > 0 && <span class="push"><Button small kind="quiet" pressed={failedOnly} onClick={() => setFailedOnly(!failedOnly)}>{t("timeline.failed_only", { n: failures })}</Button></span>}>
      {!attempts.length && <p class="hint">{task.started_at ? t("timeline.no_steps") : t("timeline.not_started")}</p>}
      {attempts.map((attempt, place) => {
        if (left <= 0) return null;
        const mine = attempt.spans.slice(-left);
        left -= mine.length;
        const execution = attempt.execution;
        const begin = execution ? Date.parse(execution.started_at) : (mine[0]?.start ?? 0);
        const end = execution?.ended_at ? Date.parse(execution.ended_at) : present;
        const from = Math.min(begin, ...mine.map((span) => span.start));
        const length = Math.max(1, Math.max(end, ...mine.map((span) => span.end)) - from);
        return (
          <div class="attempt" key={execution?.execution_id ?? place}>
            {execution && (
              <p class="attempt-head">
                <strong>{t("timeline.attempt", { n: execution.attempt })}</strong>
                <StatusChip status={execution.outcome ?? "running"} />
                <span class="hint"><When time={execution.started_at} as="moment" /> · {duration((end - begin) / 1000)}</span>
                {execution.error ? <span class="attempt-error"><Plain text={typeof execution.error === "string" ? execution.error : execution.error.message} /></span> : null}
              </p>
            )}
            <ol class="spans">{mine.map((span) => <Row key={span.id} span={span} from={from} length={length} />)}</ol>
          </div>
        );
      })}
      {shown.length > limit && <Button kind="quiet" onClick={() => setLimit(limit + 300)}>{t("more.n", { n: shown.length - limit })}</Button>}
    </Card>
  );
}
