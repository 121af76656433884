/** A task as it appears on the board, in chat and in lists: one row that moves by itself. */

import type { Signal } from "@preact/signals";
import { said, t, word } from "../i18n";
import { duration, relative, spoken } from "../format";
import { now } from "../store/live";
import { pendingApprovals } from "../store/lists";
import { command, commandsFor, reconcile, RECONCILIATIONS, type Command } from "../store/tasks";
import { TERMINAL, type Task } from "../types";
import { ApprovalCard } from "./approval";
import { Bar, Button, StatusChip, tell, When } from "./parts";
import type { IconName } from "./icon";

export const COMMAND_ICON: Record<Command, IconName> = { cancel: "close", pause: "pause", resume: "play", retry: "retry" };

/** Give the command; after a cancel the way back is offered at once. */
export async function give(task: Task, verb: Command): Promise<Task> {
  const after = await command(task.task_id, verb);
  const title = task.title || word("kind", task.kind);
  if (verb === "cancel") tell(t("told.cancel", { title }), "plain", { label: t("command.retry"), run: () => command(task.task_id, "retry") });
  else if (verb === "retry") tell(t("told.retry", { title }), "good");
  return after;
}

export function Commands({ task, words, onDone }: { task: Task; words?: boolean; onDone?: (verb: Command, after: Task) => void }) {
  return (
    <>
      {commandsFor(task).map((verb) => (
        <Button key={verb} small={!words} kind={words ? "plain" : "quiet"} icon={COMMAND_ICON[verb]} action={verb} label={words ? undefined : `${t(`command.${verb}`)}: ${task.title || word("kind", task.kind)}`} onClick={async () => {
          const after = await give(task, verb);
          if (after) onDone?.(verb, after);
        }}>
          {words ? t(`command.${verb}`) : null}
        </Button>
      ))}
    </>
  );
}

/** How full the bar is: a finished task is whole, one without a total shows only movement. */
export function percentage(task: Task): number | null {
  if (task.status === "succeeded") return 100;
  const progress = task.progress;
  if (!progress) return null;
  if (progress.percentage !== null && progress.percentage !== undefined) return progress.percentage;
  return progress.total ? (100 * progress.current) / progress.total : null;
}

/** `about 3 min left`, where the server can tell. */
export function timeLeft(task: Task): string {
  if (task.status !== "running" || !task.estimated_completion) return "";
  const seconds = (Date.parse(task.estimated_completion) - now.value) / 1000;
  if (Number.isNaN(seconds)) return "";
  return seconds < 2 ? t("progress.almost") : t("progress.left", { time: duration(Math.ceil(seconds)) });
}

/** What a task waits for, as one line. */
export function waitLine(task: Task): string {
  const wait = task.waiting_for;
  const starts = task.next_attempt_at ?? task.not_before;
  if (task.status === "queued" && starts && Date.parse(starts) > now.value) {
    return task.attempt > 0 && task.next_attempt_at ? t("wait.retry", { time: relative(task.next_attempt_at, now.value), n: task.attempt }) : t("wait.starts", { time: relative(starts, now.value) });
  }
  if (task.status === "running" && (task.intent === "cancel" || task.intent === "pause")) return t(`intent.${task.intent}`);
  if (task.status !== "waiting" || !wait) return "";
  if (wait.kind === "timer" && wait.until) return t("wait.until", { time: relative(wait.until, now.value) });
  return word("wait", wait.kind);
}

function Foot({ task }: { task: Task }) {
  const ended = TERMINAL.has(task.status);
  const parts: (string | null)[] = [];
  if (task.automation_id) parts.push(t("task.by_automation"));
  else if (task.session && task.session !== "main") parts.push(task.session);
  if (task.attempt > 1) parts.push(t("task.attempt", { n: task.attempt }));
  if (ended && task.started_at && task.ended_at) parts.push(duration((Date.parse(task.ended_at) - Date.parse(task.started_at)) / 1000));
  const left = timeLeft(task);
  return (
    <p class="task-foot">
      <span class="kind">{word("kind", task.kind)}</span>
      {parts.map((part) => <span key={part}>{part}</span>)}
      <span class="push">{left || <When time={task.ended_at ?? task.started_at ?? task.created_at} />}</span>
    </p>
  );
}

/** After a crash in the middle of something that must not happen twice, only a person knows what became of it. */
export function Reconcile({ task }: { task: Task }) {
  if (task.status !== "waiting" || task.waiting_for?.kind !== "reconcile") return null;
  return (
    <div class="reconcile">
      <p class="hint">{t("reconcile.hint")}</p>
      <div class="row">
        {RECONCILIATIONS.map((answer) => <Button key={answer} small action={`reconcile-${answer}`} onClick={() => reconcile(task.task_id, answer)}>{t(`reconcile.${answer}`)}</Button>)}
      </div>
    </div>
  );
}

export function TaskRow({ task: source, as = "li" }: { task: Signal<Task>; as?: "li" | "article" }) {
  const task = source.value;
  const Tag = as;
  const ended = TERMINAL.has(task.status);
  const value = percentage(task);
  const message = ended ? spoken(task.error?.message, now.peek()) : waitLine(task) || said(task.progress?.message);
  const shows = !ended ? value !== null || task.status === "running" : value !== null;
  // Under its column's heading the plain state goes without saying; what is unlike its neighbours wears a chip.
  const obvious = task.status === "running" || task.status === "succeeded" || task.status === "queued" || (task.status === "waiting" && task.waiting_for?.kind === "approval");
  const approvals = task.status === "waiting" && task.waiting_for?.kind === "approval" ? pendingApprovals.value.filter((one) => one.task_id === task.task_id) : [];
  return (
    <Tag class={`task s-${task.status}${approvals.length ? " asks" : ""}`} data-task={task.task_id} data-status={task.status}>
      <div class="task-head">
        <a class="task-title" dir="auto" href={`#/tasks/${task.task_id}`}>{task.title || word("kind", task.kind)}</a>
        {obvious ? <span class="visually-hidden">{word("status", task.status)}</span> : <StatusChip status={task.status} />}
      </div>
      {message && <p dir="auto" class={`task-message${task.error && ended && task.status !== "cancelled" ? " bad" : ""}`}>{message}</p>}
      {shows && (
        <div class="task-progress">
          <Bar value={value} status={task.status} label={t("progress.of", { title: task.title || word("kind", task.kind) })} />
          {!ended && value !== null && <span class="figure">{Math.round(value)}%</span>}
        </div>
      )}
      {approvals.map((approval) => <ApprovalCard key={approval.approval_id} approval={approval} brief />)}
      <Reconcile task={task} />
      <div class="task-end">
        <Foot task={task} />
        <div class="task-commands"><Commands task={task} /></div>
      </div>
    </Tag>
  );
}
