/** Standing orders: what is done when, how it went, and the form to change it. */

import { useState } from "preact/hooks";
import { get, optional, post } from "../api";
import { t } from "../i18n";
import { go, place } from "../router";
import { automations, loadAutomations, withId } from "../store/lists";
import { loaded, now } from "../store/live";
import { put } from "../store/tasks";
import type { Automation, Task } from "../types";
import { Editor } from "../ui/automationform";
import { actionText, whenText } from "../ui/automation";
import { Icon } from "../ui/icon";
import { Button, Empty, Loading, Page, Problem, StatusChip, Tabs, tell, useLoad, When } from "../ui/parts";
import { Details } from "../ui/automationdetails";
import { moment } from "../format";

export async function runNow(automation: Automation): Promise<void> {
  const task = await post<Task | { task_id?: string }>(`/v1/automations/${encodeURIComponent(automation.id)}/run`);
  if (task && "status" in task && task.task_id) put(task);
  const id = task?.task_id;
  tell(t("told.started", { title: automation.name }), "good", id ? { label: t("task.open"), run: () => go(`#/tasks/${id}`) } : undefined);
}

export async function setRunning(automation: Automation, running: boolean): Promise<void> {
  await post(`/v1/automations/${encodeURIComponent(automation.id)}/${running ? "resume" : "pause"}`);
  await loadAutomations();
}

const ICONS = { scheduled: "clock", delayed: "clock", event: "bolt", continuous: "eye" } as const;

function Row({ automation }: { automation: Automation }) {
  const active = automation.status === "active";
  return (
    <li data-automation={automation.id} class="automation-row">
      <span class={`automation-icon t-${automation.type}`}><Icon name={ICONS[automation.type] ?? "repeat"} /></span>
      <div class="grow">
        <a class="title list-link" href={`#/automations/${encodeURIComponent(automation.id)}`}>{automation.name}</a>
        <span class="hint">{whenText(automation)} · {actionText(automation)}</span>
      </div>
      <div class="automation-next">
        {active && automation.next_run ? <span><span class="hint">{t("automation.next")}</span> {moment(automation.next_run, now.value)}</span> : active ? <span class="faint">{automation.type === "event" ? t("automation.on_event") : ""}</span> : <StatusChip status={automation.status} />}
        {automation.last_run && <span class="hint">{t("automation.last")} <When time={automation.last_run} /></span>}
      </div>
      <div class="row-commands">
        <Button small kind="quiet" icon="bolt" action="run" label={`${t("automation.run_now")}: ${automation.name}`} onClick={() => runNow(automation)} />
        {automation.status !== "completed" && <Button small kind="quiet" icon={active ? "pause" : "play"} action={active ? "pause" : "resume"} label={`${t(active ? "command.pause" : "command.resume")}: ${automation.name}`} onClick={() => setRunning(automation, !active)} />}
      </div>
    </li>
  );
}

const IDEAS: { key: "brief" | "price" | "mail" | "backup"; document: Partial<Automation> }[] = [
  { key: "brief", document: { type: "scheduled", schedule: { type: "cron", expression: "0 8 * * 1-5" }, action: { type: "generate_daily_brief", parameters: {} } } },
  { key: "price", document: { type: "continuous", watch: { probe: { kind: "http", url: "https://" }, every: "6h", condition: "price < 100", rearm: "edge" }, action: { type: "remind", parameters: { text: "" } } } },
  { key: "mail", document: { type: "event", on: { source: "email", filter: "" }, action: { type: "agent_turn", parameters: { message: "" } } } },
  { key: "backup", document: { type: "scheduled", schedule: { type: "every", interval: "4h" }, action: { type: "command", parameters: { argv: [] } }, policy: { notify: "on_failure" } } },
];

function Ideas() {
  return (
    <ul class="ideas">
      {IDEAS.map(({ key, document }) => (
        <li key={key}><a class="card idea" href={`#/automations/new?idea=${key}`}>
          <Icon name={ICONS[document.type!]} />
          <strong>{t(`idea.${key}`)}</strong>
          <span class="hint">{t(`idea.${key}.text`)}</span>
        </a></li>
      ))}
    </ul>
  );
}

function List() {
  const query = place.value.query;
  const [chosen, setChosen] = useState(query.get("show") ?? "all");
  const shown = automations.value.filter((one) => chosen === "all" || (chosen === "active" ? one.status === "active" : one.status !== "active"));
  const sorted = [...shown].sort((a, b) => (a.status === b.status ? (a.next_run ?? "9") < (b.next_run ?? "9") ? -1 : 1 : a.status === "active" ? -1 : 1));
  return (
    <Page title={t("nav.automations")} lead={t("automations.lead")} actions={<>
      <a class="button plain" href="#/calendar"><Icon name="calendar" size={18} /><span>{t("nav.calendar")}</span></a>
      <a class="button primary" href="#/automations/new"><Icon name="plus" size={18} /><span>{t("automation.new")}</span></a>
    </>}>
      {!loaded.value ? <Loading /> : automations.value.length === 0 ? (
        <>
          <Empty icon="repeat" title={t("automations.none")}>{t("automations.none_hint")}</Empty>
          <Ideas />
        </>
      ) : (
        <>
          <Tabs label={t("filter.status")} chosen={chosen} onChoose={setChosen} tabs={[{ id: "all", label: t("all") }, { id: "active", label: t("status.active") }, { id: "other", label: t("automation.inactive") }]} />
          {sorted.length ? <ul class="list">{sorted.map((one) => <Row key={one.id} automation={one} />)}</ul> : <p class="hint">{t("column.no_match")}</p>}
        </>
      )}
    </Page>
  );
}

function One({ id, edit }: { id: string; edit: boolean }) {
  const known = automations.value.find((one) => one.id === id);
  const { data, error } = useLoad(async () => {
    const found = await optional(get<Automation>(`/v1/automations/${encodeURIComponent(id)}`), null);
    return found && withId(found);
  }, `${id}:${loaded.value}:${JSON.stringify(known)}`);
  const automation = data ?? known;
  const back = { href: "#/automations", label: t("nav.automations") };
  if (!automation) return <Page title={t("automation")} back={back}>{error ? <Problem error={error} /> : loaded.value && data === null ? <Empty icon="repeat" title={t("error.missing")} /> : <Loading />}</Page>;
  return edit ? <Editor given={automation} /> : <Details automation={automation} onRun={() => runNow(automation)} onRunning={(running) => setRunning(automation, running)} />;
}

export default function Automations({ id, rest }: { id: string; rest: string[] }) {
  if (id === "new") {
    const idea = IDEAS.find((one) => one.key === place.value.query.get("idea"));
    return <Editor given={null} start={idea ? { ...idea.document, name: t(`idea.${idea.key}`) } : undefined} />;
  }
  return id ? <One id={id} edit={rest[0] === "edit"} /> : <List />;
}
