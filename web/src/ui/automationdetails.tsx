/** One automation: when it comes next, how it went before, what it would do. */

import { useState } from "preact/hooks";
import { del, list, optional, patch, post } from "../api";
import { t, word } from "../i18n";
import { moment, relative, spoken } from "../format";
import { go, to } from "../router";
import { automations, loadAutomations } from "../store/lists";
import { now } from "../store/live";
import type { Automation, Occurrence } from "../types";
import { actionText, editable, whenText } from "./automation";
import { Icon } from "./icon";
import { asText, Button, Dialog, Page, Plain, Problem, StatusChip, tell, useLoad, Card, Fact } from "./parts";
import { TaskLink } from "./tasklink";

interface Rehearsal { would?: string; task?: unknown; next?: string[]; problems?: unknown[] }

const base = (automation: Automation): string => `/v1/automations/${encodeURIComponent(automation.id)}`;

export async function nextTimes(automation: Partial<Automation>, n = 5): Promise<{ items: string[]; text?: string } | null> {
  if (!automation.schedule || automation.type === "event" || automation.type === "continuous") return null;
  return optional(post<{ items: string[]; text?: string }>("/v1/automations/preview", { schedule: automation.schedule, n }), null);
}

function policyText(name: string, value: unknown): string {
  if (name === "notify") return word("notify", String(value));
  if (name === "retry" && typeof value === "object" && value && "max" in value) return String((value as { max: number }).max);
  return typeof value === "string" ? word(`policy.${name}`, value) : asText(value);
}

/** Times to come, each with how far it is. */
export function Times({ times }: { times: string[] }) {
  return <ol class="times">{times.map((time) => <li key={time}><span>{moment(time, now.value)}</span><span class="faint">{relative(time, now.value)}</span></li>)}</ol>;
}

function Upcoming({ automation }: { automation: Automation }) {
  const { data } = useLoad(() => nextTimes(automation).catch(() => null), JSON.stringify(automation.schedule ?? null));
  const times = automation.status !== "active" ? [] : (data?.items ?? (automation.next_run ? [automation.next_run] : []));
  return (
    <Card title={t("automation.when")}>
      <p class="strong">{whenText(automation)}</p>
      {automation.schedule?.timezone && <p class="hint">{automation.schedule.timezone}</p>}
      {times.length > 0 ? (
        <><h3 class="legend">{t("automation.next_times")}</h3>
          <Times times={times} /></>
      ) : automation.status !== "active" ? <p class="hint">{t("automation.sleeps")}</p> : null}
    </Card>
  );
}

function History({ automation }: { automation: Automation }) {
  const { data, error } = useLoad(() => list<Occurrence>(`${base(automation)}/runs`, { limit: 100 }), `${automation.id}:${automation.last_run}:${automation.next_run}`);
  return (
    <Card title={t("automation.runs")}>
      {error ? <Problem error={error} /> : !data?.length ? <p class="hint">{t("automation.no_runs")}</p> : (
        <ol class="runs">
          {data.map((run) => (
            <li key={`${run.slot}${run.status}`}>
              <StatusChip status={run.status} group="slot" />
              <span>{moment(run.slot, now.value)}</span>
              <span class="hint grow">{spoken(run.reason, now.value)}{run.merged_into ? ` ${t("automation.merged", { time: moment(run.merged_into, now.value) })}` : ""}</span>
              {run.task_id && <TaskLink id={run.task_id} title={t("automation.see")} />}
            </li>
          ))}
        </ol>
      )}
    </Card>
  );
}

export function Rehearse({ load, open, onClose }: { load: () => Promise<Rehearsal | null>; open: boolean; onClose: () => void }) {
  const { data, error } = useLoad(async () => (open ? load() : null), open);
  return (
    <Dialog title={t("automation.dry_run")} open={open} onClose={onClose}>
      <p class="hint">{t("automation.dry_run_hint")}</p>
      {error ? <Problem error={error} /> : data ? (
        <div class="stack">
          {data.would && <p>{data.would}</p>}
          {data.problems?.length ? <ul class="notice bad">{data.problems.map((one) => <li key={asText(one)}>{asText(one)}</li>)}</ul> : <p class="notice good"><Icon name="check" /><span>{t("automation.no_problems")}</span></p>}
          {data.next?.length ? <div><h3 class="legend">{t("automation.next_times")}</h3><Times times={data.next} /></div> : null}
          {data.task ? <details><summary>{t("automation.would_submit")}</summary><Plain block text={asText(data.task)} /></details> : null}
        </div>
      ) : <p class="hint">{t("loading")}</p>}
    </Dialog>
  );
}

interface DetailsProps { automation: Automation; onRun: () => Promise<void>; onRunning: (running: boolean) => Promise<void> }

export function Details({ automation, onRun, onRunning }: DetailsProps) {
  const [removing, setRemoving] = useState(false);
  const [rehearsing, setRehearsing] = useState(false);
  const active = automation.status === "active";
  const off = automation.status === "disabled";
  const policy = Object.entries(automation.policy ?? {}).filter(([, value]) => value !== null && value !== undefined);
  const document = editable(automation);
  return (
    <Page wide title={automation.name} back={{ href: "#/automations", label: t("nav.automations") }} lead={<StatusChip status={automation.status} />} actions={<>
      <Button kind="primary" icon="bolt" action="run" onClick={onRun}>{t("automation.run_now")}</Button>
      {automation.status !== "completed" && !off && <Button icon={active ? "pause" : "play"} action={active ? "pause" : "resume"} onClick={() => onRunning(!active)}>{t(active ? "command.pause" : "command.resume")}</Button>}
      <a class="button plain" href={to(`automations/${automation.id}/edit`)}><Icon name="edit" size={18} /><span>{t("approval.edit")}</span></a>
    </>}>
      <div class="task-page">
        <div class="cards">
          <History automation={automation} />
          <Card title={t("automation.does")}>
            <p class="strong">{actionText(automation)}</p>
            {Object.keys(automation.action?.parameters ?? {}).length > 0 && <dl class="facts">{Object.entries(automation.action.parameters).map(([name, value]) => <Fact name={word("field", name)}><Plain text={typeof value === "boolean" ? t(value ? "yes" : "no") : asText(value)} /></Fact>)}</dl>}
          </Card>
          <details class="card"><summary>{t("automation.document")}</summary><Plain block text={JSON.stringify(document, null, 2)} /></details>
        </div>
        <div class="cards side">
          <Upcoming automation={automation} />
          <Card title={t("automation.tells")}>
            <p>{automation.delivery?.channels?.length ? automation.delivery.channels.join(", ") : t("automation.tells_nobody")}</p>
            {policy.length > 0 && <><h3 class="legend">{t("automation.policy")}</h3><dl class="facts">{policy.map(([name, value]) => <Fact name={word("policy", name)}>{policyText(name, value)}</Fact>)}</dl></>}
          </Card>
          <section class="row">
            <Button kind="quiet" icon="eye" onClick={() => setRehearsing(true)}>{t("automation.dry_run")}</Button>
            <Button kind="quiet" icon={off ? "play" : "stop"} onClick={async () => {
              await patch(base(automation), { status: off ? "active" : "disabled" });
              await loadAutomations();
            }}>{t(off ? "automation.enable" : "automation.disable")}</Button>
            <Button kind="quiet" icon="trash" onClick={() => setRemoving(true)}>{t("automation.remove")}</Button>
          </section>
        </div>
      </div>
      <Rehearse open={rehearsing} onClose={() => setRehearsing(false)} load={() => post<Rehearsal>(`${base(automation)}/dry-run`)} />
      <Dialog title={t("automation.remove_ask", { name: automation.name })} open={removing} onClose={() => setRemoving(false)}>
        <p>{t("automation.remove_hint")}</p>
        <div class="row end">
          <Button onClick={() => setRemoving(false)}>{t("cancel")}</Button>
          <Button kind="danger" onClick={async () => {
            await del(base(automation));
            automations.value = automations.value.filter((one) => one.id !== automation.id);
            tell(t("automation.removed", { name: automation.name }));
            go("#/automations");
          }}>{t("automation.remove")}</Button>
        </div>
      </Dialog>
    </Page>
  );
}

