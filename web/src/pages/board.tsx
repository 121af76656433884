/** Home: what needs the person, what runs, what comes, what is done. */

import type { Signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import { t, word } from "../i18n";
import { moment, relative } from "../format";
import { place, setQuery } from "../router";
import { automations, pendingApprovals } from "../store/lists";
import { loaded, now } from "../store/live";
import { board, COLUMNS, command, commandsFor, doneCursor, found, moreDone, search, type Column, type Filter } from "../store/tasks";
import type { Approval, Automation, Task } from "../types";
import { ApprovalCard } from "../ui/approval";
import { PlainChoice } from "../ui/fields";
import { Icon, type IconName } from "../ui/icon";
import { Button, complain, Empty, Loading, Page } from "../ui/parts";
import { remembered, store } from "../ui/preferences";
import { TaskRow } from "../ui/task";
import { newTask } from "../ui/newtask";

const COLUMN_ICON: Record<Column, IconName> = { needs_you: "hand", running: "bolt", queued: "list", scheduled: "clock", done: "check" };
const FIRST = 30;
const NONE: ReadonlySet<string> = new Set();

function filterIn(query: URLSearchParams): Filter {
  const of = (name: string) => query.get(name) ?? "";
  return { q: of("q"), status: of("status"), runtime: of("runtime"), kind: of("kind") };
}

/** Whether the task passes; `ids` are those in which the server found the words, also where the list does not show them. */
function matches(task: Task, filter: Filter, ids: ReadonlySet<string>): boolean {
  if (filter.status && task.status !== filter.status) return false;
  if (filter.runtime && task.runtime !== filter.runtime) return false;
  if (filter.kind && task.kind !== filter.kind) return false;
  const text = filter.q.toLowerCase();
  return !text || ids.has(task.task_id) || [task.title, task.kind, task.task_id, task.session].some((part) => part?.toLowerCase().includes(text));
}

function Upcoming({ automation }: { automation: Automation }) {
  return (
    <li class="task upcoming">
      <div class="task-head">
        <a class="task-title" href={`#/automations/${encodeURIComponent(automation.id)}`}>{automation.name}</a>
        <Icon name="repeat" size={16} />
      </div>
      <p class="task-message">{moment(automation.next_run, now.value)} <span class="faint">· {relative(automation.next_run, now.value)}</span></p>
    </li>
  );
}

interface ColumnProps { name: Column; tasks: Signal<Task>[]; approvals: Approval[]; upcoming: Automation[]; isFiltered: boolean }

function BoardColumn({ name, tasks, approvals, upcoming, isFiltered }: ColumnProps) {
  const [limit, setLimit] = useState(FIRST);
  const count = tasks.length + approvals.length + upcoming.length;
  const shown = tasks.slice(0, limit);
  const more = tasks.length > limit;
  const moreOnServer = name === "done" && !isFiltered && !more && doneCursor.value !== null;
  return (
    <section class={`column c-${name}${count ? "" : " is-empty"}`} aria-labelledby={`column-${name}`}>
      <h2 id={`column-${name}`}>
        <Icon name={COLUMN_ICON[name]} size={16} />{t(`column.${name}`)}
        <span class="count" aria-label={t("column.count", { n: count })}>{count}{name === "done" && !isFiltered && doneCursor.value !== null ? "+" : ""}</span>
      </h2>
      <ul class="tasks">
        {approvals.map((approval) => <li key={approval.approval_id}><ApprovalCard approval={approval} brief /></li>)}
        {shown.map((task) => <TaskRow key={task.peek().task_id} task={task} />)}
        {upcoming.map((automation) => <Upcoming key={automation.id} automation={automation} />)}
      </ul>
      {count === 0 && <p class="column-empty">{isFiltered ? t("column.no_match") : t(`column.empty.${name}`)}</p>}
      {(more || moreOnServer) && (
        <Button kind="quiet" onClick={async () => {
          if (moreOnServer) await moreDone();
          setLimit(limit + 50);
        }}>{more ? t("more.n", { n: tasks.length - limit }) : t("more")}</Button>
      )}
    </section>
  );
}

/** The open tasks a filter shows, for commands on all of them at once. */
function Bulk({ tasks }: { tasks: Task[] }) {
  const able = (verb: "cancel" | "retry") => tasks.filter((task) => commandsFor(task).includes(verb));
  const all = async (verb: "cancel" | "retry") => {
    const outcomes = await Promise.allSettled(able(verb).map((task) => command(task.task_id, verb)));
    const failed = outcomes.find((one) => one.status === "rejected");
    if (failed) complain((failed as PromiseRejectedResult).reason);
  };
  return (
    <>
      {able("cancel").length > 1 && <Button small onClick={() => all("cancel")}>{t("bulk.cancel", { n: able("cancel").length })}</Button>}
      {able("retry").length > 1 && <Button small onClick={() => all("retry")}>{t("bulk.retry", { n: able("retry").length })}</Button>}
    </>
  );
}

const STATUSES = ["running", "waiting", "queued", "paused", "succeeded", "failed", "timed_out", "cancelled", "lost"] as const;

export function Board() {
  const query = place.value.query;
  const filter = filterIn(query);
  const isFiltered = Object.values(filter).some(Boolean);
  const key = JSON.stringify(filter);
  const hits = found.value.filter === key ? found.value : null;
  useEffect(() => {
    if (!isFiltered || !loaded.value) return;
    const timer = setTimeout(() => search(filter).catch(complain), 200);
    return () => clearTimeout(timer);
  }, [key, loaded.value]);
  const view = query.get("view") ?? remembered("view") ?? "board";
  const columns = board.value;
  const everything = COLUMNS.flatMap((name) => columns[name]);
  const kinds = [...new Set([...everything.map((task) => task.peek().kind), filter.kind])].filter(Boolean).sort();
  const runtimes = [...new Set(everything.map((task) => task.peek().runtime))].sort();
  const onBoard = new Set(columns.needs_you.map((task) => task.peek().task_id));
  const loose = isFiltered ? [] : pendingApprovals.value.filter((one) => !one.task_id || !onBoard.has(one.task_id));
  const upcoming = isFiltered ? [] : automations.value
    .filter((one) => one.status === "active" && one.next_run)
    .sort((a, b) => (a.next_run! < b.next_run! ? -1 : 1))
    .slice(0, 12);
  const fitting = Object.fromEntries(COLUMNS.map((name) => [name, columns[name].filter((task) => matches(task.peek(), filter, hits?.ids ?? NONE))])) as Record<Column, Signal<Task>[]>;
  const shown = COLUMNS.flatMap((name) => fitting[name]).map((task) => task.peek());
  const isNew = loaded.value && everything.length === 0 && loose.length === 0 && automations.value.length === 0;
  return (
    <Page wide title={t("nav.board")} actions={<Button kind="primary" icon="plus" onClick={() => newTask()}>{t("task.new")}</Button>}>
      {!isNew && (
        <div class="filters" role="search">
          <label class="search"><Icon name="search" size={16} /><span class="visually-hidden">{t("filter.text")}</span>
            <input type="search" placeholder={t("filter.text")} value={filter.q} onInput={(event) => setQuery({ q: event.currentTarget.value })} />
          </label>
          <PlainChoice label={t("filter.status")} none={t("filter.any_status")} value={filter.status} options={STATUSES} text={(one) => t(`status.${one}`)} onChoose={(status) => setQuery({ status })} />
          {kinds.length > 1 && <PlainChoice label={t("filter.kind")} none={t("filter.any_kind")} value={filter.kind} options={kinds} text={(one) => word("kind", one)} onChoose={(kind) => setQuery({ kind })} />}
          {runtimes.length > 1 && <PlainChoice label={t("filter.runtime")} none={t("filter.any_runtime")} value={filter.runtime} options={runtimes} text={(one) => word("runtime", one)} onChoose={(runtime) => setQuery({ runtime })} />}
          {isFiltered && <Button kind="quiet" small icon="close" onClick={() => setQuery({ q: null, status: null, kind: null, runtime: null })}>{t("filter.clear")}</Button>}
          {isFiltered && <Bulk tasks={shown} />}
          <span class="push switch-view">
            {(["board", "list"] as const).map((one) => (
              <Button small kind="quiet" icon={one} label={t(`view.${one}`)} pressed={view === one} onClick={() => {
                store("view", one);
                setQuery({ view: one });
              }} />
            ))}
          </span>
        </div>
      )}
      {!loaded.value ? <Loading /> : isNew ? (
        <Empty icon="spark" title={t("board.new.title")} action={<>
          <Button kind="primary" icon="plus" onClick={() => newTask("simulate")}>{t("board.new.try")}</Button>
          <a class="button plain" href="#/chat/main"><Icon name="chat" size={18} /><span>{t("board.new.chat")}</span></a>
          <a class="button plain" href="#/automations/new"><Icon name="repeat" size={18} /><span>{t("board.new.automation")}</span></a>
        </>}>{t("board.new.text")}</Empty>
      ) : (
        <div class={`board as-${view}`}>
          {COLUMNS.map((name) => (
            <BoardColumn key={name} name={name} tasks={fitting[name]} isFiltered={isFiltered} approvals={name === "needs_you" ? loose : []} upcoming={name === "scheduled" ? upcoming : []} />
          ))}
          {isFiltered && hits?.cursor && <Button kind="quiet" onClick={() => search(filter, true)}>{t("more")}</Button>}
        </div>
      )}
    </Page>
  );
}
