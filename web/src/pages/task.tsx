/** One task: where it stands, what it made, and everything it did on the way. */

import { useEffect, useMemo } from "preact/hooks";
import { ApiError, get, list, optional, patch } from "../api";
import { said, t, word } from "../i18n";
import { bytes, clockSeconds, compact, duration, money, number, shortId, spoken } from "../format";
import { go } from "../router";
import { loaded, now, onEvent } from "../store/live";
import { approvals as allApprovals, automations, soon } from "../store/lists";
import { put, readTask, taskSignal } from "../store/tasks";
import { TERMINAL, type Artifact, type Delivery, type Execution, type LogLine, type Step, type Target, type Task } from "../types";
import { ApprovalCard } from "../ui/approval";
import { Icon } from "../ui/icon";
import { Markdown } from "../ui/markdown";
import { Choice, NOTIFY, PriorityField } from "../ui/fields";
import { asText, Bar, Button, Card, Chip, complain, Empty, Fact, Loading, Page, Plain, Problem, StatusChip, tell, useLoad, When } from "../ui/parts";
import { Commands, percentage, Reconcile, timeLeft, waitLine } from "../ui/task";
import { TaskName } from "../ui/tasklink";
import { kindTitle } from "../ui/newtask";
import { Timeline } from "../ui/timeline";

interface Details { steps: Step[]; executions: Execution[]; logs: LogLine[]; artifacts: Artifact[]; deliveries: Delivery[]; why: { text: string } | null }

async function readDetails(id: string): Promise<Details> {
  const base = `/v1/tasks/${encodeURIComponent(id)}`;
  const [steps, executions, logs, artifacts, deliveries, why] = await Promise.all([
    list<Step>(`${base}/steps`), list<Execution>(`${base}/executions`), list<LogLine>(`${base}/logs`), list<Artifact>(`${base}/artifacts`), list<Delivery>(`${base}/deliveries`),
    optional(get<{ text: string }>(`${base}/why`), null),
  ]);
  return { steps, executions, logs, artifacts, deliveries, why };
}

function save(name: string, content: unknown): void {
  const address = URL.createObjectURL(new Blob([JSON.stringify(content, null, 2)], { type: "application/json" }));
  const anchor = document.createElement("a");
  anchor.href = address;
  anchor.download = name;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

function Result({ task }: { task: Task }) {
  const result = task.result;
  if (!result) return null;
  const { text, stdout, stderr, sections: _sections, ...rest } = result;
  const isWhole = task.status === "succeeded";
  const shown = text !== undefined && text !== stdout ? text : undefined;
  const others = Object.entries(rest).filter(([name, value]) => value !== null && value !== "" && name !== "format" && !(Array.isArray(value) && value.length === 0));
  return (
    <Card title={isWhole ? t("result") : <>{t("result.partial")}<Chip tone="need">{t("result.partial_hint")}</Chip></>}>
      {shown !== undefined && <Markdown text={asText(shown)} />}
      {[["stdout", stdout], ["stderr", stderr]].map(([name, value]) => (value ? <div key={String(name)} class="output"><h3 class="legend">{String(name)}</h3><Plain block text={asText(value)} /></div> : null))}
      {others.length > 0 && (
        <dl class="facts result-facts">{others.map(([name, value]) => {
          const text = Array.isArray(value) && value.every((one) => typeof one === "string") ? value.join("\n") : asText(value);
          return <Fact name={word("field", name)}>{text.length > 200 ? <details><summary>{bytes(text.length)}</summary><Plain block text={text} /></details> : <Plain text={text} />}</Fact>;
        })}</dl>
      )}
    </Card>
  );
}

function Files({ artifacts }: { artifacts: Artifact[] }) {
  if (!artifacts.length) return null;
  return (
    <Card title={t("task.artifacts")}>
      <ul class="files">
        {artifacts.map((one) => (
          <li key={one.artifact_id}>
            <Icon name="audit" />
            <a href={`/v1/artifacts/${encodeURIComponent(one.artifact_id)}`} download={one.name}>{one.name}</a>
            {one.partial && <Chip tone="need">{t("task.partial")}</Chip>}
            <span class="faint push">{bytes(one.size)}</span>
          </li>
        ))}
      </ul>
    </Card>
  );
}

function Logs({ logs }: { logs: LogLine[] }) {
  return (
    <Card title={t("task.logs")}>
      {logs.length ? (
        <ol class="logs" tabIndex={0} aria-label={t("task.logs")}>
          {logs.slice(-300).map((line, place) => (
            <li key={place} class={`log-${line.level}`}>
              <time>{clockSeconds(line.time)}</time><span class="level">{line.level}</span><span><Plain text={line.message} /></span>
            </li>
          ))}
        </ol>
      ) : <p class="hint">{t("task.no_logs")}</p>}
    </Card>
  );
}

function receiptText(receipt: unknown): string {
  if (!receipt) return "";
  if (Array.isArray(receipt)) return receipt.map(asText).join(", ");
  if (typeof receipt === "object" && Array.isArray((receipt as { ids?: unknown[] }).ids)) return (receipt as { ids: unknown[] }).ids.join(", ");
  return asText(receipt);
}

function Deliveries({ task, deliveries }: { task: Task; deliveries: Delivery[] }) {
  const targets: (Target & { attempts?: number; next_at?: string | null; next_attempt_at?: string | null })[] = deliveries.length
    ? deliveries
    : (task.delivery?.targets ?? []).map((one) => (typeof one === "string" ? { target: one, status: "" } : one));
  if (!targets.length && (!task.delivery || task.delivery.status === "not_applicable")) return null;
  return (
    <Card title={<>{t("task.delivery")} {task.delivery && task.delivery.status !== "not_applicable" && <StatusChip status={task.delivery.status} group="delivery" />}</>}>
      <ul class="plain-list">
        {targets.map((one, place) => (
          <li key={place}>
            <div class="row"><strong>{word("target", one.target)}</strong>{one.status && <StatusChip status={one.status} group="delivery" />}<span class="push hint"><When time={one.updated_at} /></span></div>
            {one.receipt ? <p class="hint">{t("delivery.receipt")}: <span class="mono">{receiptText(one.receipt)}</span></p> : null}
            {one.error ? <p class="field-error"><Plain text={asText(one.error)} /></p> : null}
            {(one.next_at ?? one.next_attempt_at) && one.status === "pending" ? <p class="hint">{t("delivery.again")} <When time={one.next_at ?? one.next_attempt_at} /></p> : null}
          </li>
        ))}
      </ul>
    </Card>
  );
}

function About({ task }: { task: Task }) {
  const automation = automations.value.find((one) => one.id === task.automation_id);
  const usage = task.usage;
  const ran = task.started_at ? ((task.ended_at ? Date.parse(task.ended_at) : now.value) - Date.parse(task.started_at)) / 1000 : null;
  const change = async (values: Record<string, string>) => {
    try {
      put(await patch<Task>(`/v1/tasks/${task.task_id}`, values));
      tell(t("told.saved"), "good");
    } catch (error) {
      complain(error);
    }
  };
  const ended = TERMINAL.has(task.status);
  return (
    <Card title={t("task.about")}>
      <dl class="facts">
        <Fact name={t("task.kind")}>{kindTitle(task.kind)}</Fact>
        <Fact name={t("task.started_by")}>{automation ? <a href={`#/automations/${encodeURIComponent(automation.id)}`}>{automation.name}</a> : word("runtime", task.runtime)}</Fact>
        {task.session && <Fact name={t("task.session")}><a href={`#/chat/${encodeURIComponent(task.session)}`}>{task.session}</a></Fact>}
        {task.parent_id && <Fact name={t("task.parent")}><TaskName id={task.parent_id} /></Fact>}
        <Fact name={t("task.created")}><When time={task.created_at} as="moment" /></Fact>
        {task.started_at && <Fact name={t("task.started")}><When time={task.started_at} as="moment" /></Fact>}
        {task.ended_at && <Fact name={t("task.ended")}><When time={task.ended_at} as="moment" /></Fact>}
        {ran !== null && <Fact name={t("task.took")}>{duration(ended ? ran : Math.round(ran))}</Fact>}
        <Fact name={t("task.attempts")}>{number(task.attempt)}</Fact>
        {task.verdict ? <Fact name={t("task.verdict")}>{typeof task.verdict === "string" ? word("verdict", task.verdict) : asText(task.verdict)}</Fact> : null}
        <Fact name="ID"><button type="button" class="link mono" title={task.task_id} onClick={() => navigator.clipboard?.writeText(task.task_id).then(() => tell(t("told.copied")), complain)}>{shortId(task.task_id)}</button></Fact>
      </dl>
      {usage && (usage.model_calls > 0 || usage.tool_calls > 0 || (usage.cost ?? 0) > 0 || usage.cpu_seconds > 0) && (
        <>
          <h3 class="legend">{t("usage")}</h3>
          <dl class="facts">
            <Fact name={t("usage.cost")}>{money(usage.cost)}</Fact>
            <Fact name={t("usage.tokens")}>{t("usage.tokens_of", { input: compact(usage.input_tokens), output: compact(usage.output_tokens) })}</Fact>
            <Fact name={t("usage.calls")}>{t("usage.calls_of", { models: usage.model_calls, tools: usage.tool_calls })}</Fact>
            {usage.cpu_seconds > 0 && <Fact name={t("usage.cpu")}>{duration(usage.cpu_seconds)}</Fact>}
          </dl>
        </>
      )}
      <div class="pair">
        <Choice label={t("task.notify")} value={task.notify} options={NOTIFY} text={(one) => t(`notify.${one}`)} onChoose={(notify) => change({ notify })} />
        {!ended && <PriorityField value={task.priority} onChoose={(priority) => change({ priority })} />}
      </div>
      {task.params && Object.keys(task.params).length > 0 && <details><summary>{t("task.params")}</summary><Plain block text={JSON.stringify(task.params, null, 2)} /></details>}
    </Card>
  );
}

function State({ task, why }: { task: Task; why: Details["why"] }) {
  const value = percentage(task);
  const ended = TERMINAL.has(task.status);
  const open = allApprovals.value.filter((one) => one.task_id === task.task_id && one.status === "pending");
  const reason = why?.text && !ended && task.status !== "running" ? why : null;
  return (
    <section class={`card state s-${task.status}`} data-task={task.task_id} data-status={task.status} aria-label={t("task.state")}>
      <div class="row">
        <StatusChip status={task.status} />
        {!ended && <span class="state-message" aria-live="polite">{waitLine(task) || said(task.progress?.message)}</span>}
        <span class="push state-left">{timeLeft(task)}</span>
      </div>
      {(value !== null || task.status === "running") && (
        <div class="task-progress">
          <Bar value={value} status={task.status} label={t("progress.of", { title: task.title || kindTitle(task.kind) })} />
          {value !== null && <span class="figure">{Math.round(value)}%</span>}
        </div>
      )}
      {task.status !== "succeeded" && task.progress && task.progress.total !== null && <p class="hint">{t("progress.count", { current: number(task.progress.current, 1), total: number(task.progress.total, 1), unit: word("counted", task.progress.unit) })}</p>}
      {reason && <div class="notice need"><Icon name="clock" /><span><strong>{t("task.why")}</strong> {spoken(reason.text, now.value)}</span></div>}
      {task.error && <div class={`notice ${task.status === "cancelled" ? "" : "bad"}`} role={ended ? undefined : "alert"}><Icon name="alert" /><span><strong>{word("error", task.error.kind)}{task.error.step ? ` · ${task.error.step}` : ""}</strong><br /><Plain text={spoken(task.error.message, now.value)} /></span></div>}
      {open.map((approval) => <ApprovalCard key={approval.approval_id} approval={approval} />)}
      <Reconcile task={task} />
      <div class="row state-commands"><Commands task={task} words onDone={(verb, after) => verb === "retry" && after.task_id !== task.task_id && go(`#/tasks/${after.task_id}`)} /></div>
    </section>
  );
}

export default function TaskPage({ id }: { id: string }) {
  const source = taskSignal(id);
  const first = useLoad(() => readTask(id), `${id}:${loaded.value}`);
  const { data: details, error, reload } = useLoad(() => readDetails(id), `${id}:${loaded.value}`);
  // A turn of a conversation is on no board: its page reads it by itself.
  const again = useMemo(() => soon(() => Promise.all([reload(), taskSignal(id) ?? first.reload()]), 500), [id]);
  useEffect(() => onEvent((event) => {
    if (event.task_id === id) again();
  }), [id]);
  const back = { href: "#/", label: t("nav.board") };
  const task = source?.value ?? first.data;
  if (!task) {
    return <Page title={t("task")} back={back}>{first.error ? <>{!(first.error instanceof ApiError && first.error.isMissing) && <Problem error={first.error} />}<Empty icon="search" title={t("task.unknown")}>{t("task.unknown_hint")}</Empty></> : <Loading />}</Page>;
  }
  return (
    <Page wide title={task.title || kindTitle(task.kind)} back={back} actions={<Button kind="quiet" icon="download" onClick={() => save(`${task.task_id}.json`, { task, ...details })}>{t("task.download")}</Button>}>
      <div class="task-page">
        <div class="cards">
          <State task={task} why={details?.why ?? null} />
          {error ? <Problem error={error} retry={reload} /> : null}
          <Result task={task} />
          <Files artifacts={details?.artifacts ?? []} />
          <Timeline task={task} steps={details?.steps ?? []} executions={details?.executions ?? []} approvals={allApprovals.value.filter((one) => one.task_id === id)} />
          <Logs logs={details?.logs.length ? details.logs : (task.logs ?? [])} />
        </div>
        <div class="cards side">
          <About task={task} />
          <Deliveries task={task} deliveries={details?.deliveries ?? []} />
        </div>
      </div>
    </Page>
  );
}

