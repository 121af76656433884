/** An automation as a form and as its document; what is changed in one is changed in the other. */

import { useEffect, useState } from "preact/hooks";
import { list, patch, post } from "../api";
import { t, word, type Words } from "../i18n";
import { go, to } from "../router";
import { loadAutomations, withId } from "../store/lists";
import { now, serverStatus } from "../store/live";
import type { Automation, Schedule } from "../types";
import { nextTimes, Rehearse, Times } from "./automationdetails";
import { editable, scheduleText, whenText, type Draft } from "./automation";
import { Choice, Field, NOTIFY, TextField } from "./fields";
import { BUILT_IN, KindField, loadKinds, tidy, type Kind } from "./newtask";
import { Button, Card, Page, sentence, Tabs, tell } from "./parts";
import { Json, SchemaForm } from "./schema";

/** The parts that a type of automation has, the others taken away, so that switching to and fro leaves no remains. */
export function asType(draft: Draft, type: Automation["type"], timezone: string | undefined): Draft {
  const { schedule, on, watch, ...rest } = draft;
  const next: Draft = { ...rest, type };
  if (type === "scheduled") next.schedule = schedule && schedule.type !== "after" ? schedule : { type: "cron", expression: "0 8 * * *", timezone };
  if (type === "delayed") next.schedule = schedule?.type === "after" ? schedule : { type: "after", delay: "30m" };
  if (type === "event") next.on = on ?? { source: "email", filter: "" };
  if (type === "continuous") next.watch = watch ?? { probe: { kind: "http", url: "https://" }, every: "6h", condition: "value > 0", rearm: "edge" };
  return next;
}

const QUICK: { key: Words<"quick">; expression: string }[] = [
  { key: "hourly", expression: "0 * * * *" }, { key: "daily", expression: "0 8 * * *" }, { key: "weekdays", expression: "0 8 * * 1-5" }, { key: "weekly", expression: "0 9 * * 1" }, { key: "monthly", expression: "0 9 1 * *" },
];

/** What was understood of words; `confirm` where a model has read them. */
interface Reading { schedule: Schedule; items: string[]; confirm?: boolean }

function ScheduleFields({ schedule, onChange }: { schedule: Schedule; onChange: (schedule: Schedule) => void }) {
  const [phrase, setPhrase] = useState("");
  const [said, setSaid] = useState<string | null>(null);
  const [guess, setGuess] = useState<Reading | null>(null);
  const zone = schedule.timezone ?? serverStatus.value.timezone;
  const understand = async () => {
    if (!phrase.trim()) return;
    setGuess(null);
    try {
      const found = await post<Reading>("/v1/automations/parse", { text: phrase });
      setSaid(null);
      if (found.confirm) setGuess(found);
      else onChange(found.schedule);
    } catch (error) {
      setSaid(sentence(error));
    }
  };
  const kinds = ["cron", "every", "at", "rrule"] as const;
  return (
    <div class="stack">
      <Field label={t("form.phrase")} error={said} hint={t("form.phrase_hint")}>{(id) => (
        <div class="joined">
          <input id={id} value={phrase} placeholder={t("form.phrase_example")} onInput={(event) => setPhrase(event.currentTarget.value)} onKeyDown={(event) => {
            if (event.key === "Enter") {
              event.preventDefault();
              void understand();
            }
          }} />
          <Button onClick={understand}>{t("form.understand")}</Button>
        </div>
      )}</Field>
      {guess && (
        <div class="notice need" role="group" aria-label={t("form.guess")}>
          <span>
            {t("form.guess")} <strong>{scheduleText(guess.schedule)}</strong>
            <Times times={guess.items.slice(0, 3)} />
          </span>
          <Button small kind="primary" onClick={() => {
            onChange(guess.schedule);
            setGuess(null);
          }}>{t("form.meant")}</Button>
          <Button small onClick={() => setGuess(null)}>{t("form.not_meant")}</Button>
        </div>
      )}
      <Tabs label={t("form.schedule")} chosen={schedule.type} onChoose={(type) => onChange(type === schedule.type ? schedule
        : type === "cron" ? { type, expression: "0 8 * * *", timezone: zone } : type === "every" ? { type, interval: "1h" } : type === "at" ? { type, time: "" } : { type: "rrule", expression: "FREQ=WEEKLY;BYDAY=MO", start: new Date(now.value).toISOString(), timezone: zone })}
        tabs={kinds.map((id) => ({ id, label: t(`schedule.${id}`) }))} />
      {schedule.type === "cron" && (
        <>
          <div class="row">{QUICK.map((one) => <Button small pressed={schedule.expression === one.expression} onClick={() => onChange({ ...schedule, expression: one.expression })}>{t(`quick.${one.key}`)}</Button>)}</div>
          <div class="pair">
            <TextField label={t("form.cron")} hint={t("form.cron_hint")} code value={schedule.expression ?? ""} onText={(text) => onChange({ ...schedule, expression: text })} />
            <TextField label={t("form.timezone")} list="zones" value={schedule.timezone ?? ""} placeholder={zone} onText={(text) => onChange({ ...schedule, timezone: text || undefined })} />
          </div>
        </>
      )}
      {schedule.type === "every" && <TextField label={t("form.interval")} hint={t("form.duration_hint")} value={schedule.interval ?? ""} onText={(text) => onChange({ ...schedule, interval: text })} />}
      {schedule.type === "at" && <TextField label={t("form.at")} hint={t("form.at_hint")} value={schedule.time ?? ""} placeholder={new Date(now.value + 3_600_000).toISOString().slice(0, 16)} onText={(text) => onChange({ ...schedule, time: text })} />}
      {schedule.type === "rrule" && (
        <div class="pair">
          <TextField label="RRULE" code value={schedule.expression ?? ""} onText={(text) => onChange({ ...schedule, expression: text })} />
          <TextField label={t("form.start")} value={schedule.start ?? ""} onText={(text) => onChange({ ...schedule, start: text })} />
        </div>
      )}
      <datalist id="zones">{(Intl.supportedValuesOf?.("timeZone") ?? []).map((one) => <option value={one} />)}</datalist>
    </div>
  );
}

function WatchFields({ watch, onChange }: { watch: NonNullable<Automation["watch"]>; onChange: (watch: NonNullable<Automation["watch"]>) => void }) {
  return (
    <div class="stack">
      <Field label={t("form.probe")} hint={t("form.probe_hint")}>{(id) => <Json id={id} value={watch.probe} onChange={(probe) => onChange({ ...watch, probe: (probe ?? {}) as typeof watch.probe })} />}</Field>
      <div class="pair">
        <TextField label={t("form.every")} hint={t("form.duration_hint")} value={watch.every} onText={(text) => onChange({ ...watch, every: text })} />
        <TextField label={t("form.condition")} hint={t("form.condition_hint")} code value={watch.condition} onText={(text) => onChange({ ...watch, condition: text })} />
        <Choice label={t("form.rearm")} value={watch.rearm ?? "edge"} options={REARM} text={(one) => t(`rearm.${one}`)} onChoose={(rearm) => onChange({ ...watch, rearm })} />
      </div>
    </div>
  );
}

const REARM = ["edge", "always", "once"] as const;

interface PolicyProps { policy: Record<string, unknown>; onChange: (policy: Record<string, unknown>) => void }

function PolicyFields({ policy, onChange }: PolicyProps) {
  const set = (name: string, value: unknown) => {
    const next = { ...policy };
    if (value === "" || value === undefined) delete next[name];
    else next[name] = value;
    onChange(next);
  };
  const choice = (name: "misfire" | "overlap" | "notify", options: readonly string[]) => (
    <Choice label={t(`policy.${name}`)} value={String(policy[name] ?? "")} none={t("form.usual")} options={options} text={(one) => word(name === "notify" ? "notify" : `policy.${name}`, one)} onChoose={(one) => set(name, one)} />
  );
  const retry = policy.retry as { max?: number } | undefined;
  return (
    <div class="pair">
      {choice("misfire", ["run_once", "run_all", "skip"])}
      {choice("overlap", ["skip", "queue", "parallel", "replace"])}
      {choice("notify", NOTIFY)}
      <TextField label={t("policy.timeout")} hint={t("form.duration_hint")} value={String(policy.timeout ?? "")} onText={(text) => set("timeout", text)} />
      <Field label={t("policy.retry")}>{(id) => <input id={id} type="number" min={0} max={20} value={retry?.max ?? ""} placeholder="3" onInput={(event) => set("retry", event.currentTarget.value === "" ? undefined : { ...retry, max: event.currentTarget.valueAsNumber })} />}</Field>
      <TextField label={t("policy.misfire_window")} hint={t("form.duration_hint")} value={String(policy.misfire_window ?? "")} onText={(text) => set("misfire_window", text)} />
    </div>
  );
}

function Preview({ draft }: { draft: Draft }) {
  const [shown, setShown] = useState<{ items: string[]; text?: string } | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const key = JSON.stringify([draft.type, draft.schedule]);
  useEffect(() => {
    let current = true;
    const timer = setTimeout(() => {
      nextTimes(draft).then((found) => {
        if (!current) return;
        setShown(found);
        setProblem(null);
      }, (error) => {
        if (!current) return;
        setShown(null);
        setProblem(sentence(error));
      });
    }, 250);
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [key]);
  return (
    <section class="card preview" aria-live="polite">
      <h2>{t("automation.when")}</h2>
      <p class="strong">{whenText(draft)}</p>
      {problem ? <p class="field-error">{problem}</p> : shown ? (
        <>
          {shown.text && shown.text !== whenText(draft) && <p class="hint">{shown.text}</p>}
          <h3 class="legend">{t("automation.next_times")}</h3>
          <Times times={shown.items} />
          {!shown.items.length && <p class="hint">{t("automation.never")}</p>}
        </>
      ) : <p class="hint">{draft.type === "event" ? t("automation.waits_for_event") : draft.type === "continuous" ? t("automation.looks") : ""}</p>}
    </section>
  );
}

export function Editor({ given, start }: { given: Automation | null; start?: Partial<Automation> }) {
  const zone = serverStatus.value.timezone;
  const [draft, setDraft] = useState<Draft>(() => editable(given ?? {
    name: "", type: "scheduled", schedule: { type: "cron", expression: "0 8 * * 1-5", timezone: zone }, action: { type: "agent_turn", parameters: {} }, delivery: { channels: [] }, ...start,
  }));
  const [view, setView] = useState("form");
  const [text, setText] = useState("");
  const [bad, setBad] = useState<string | null>(null);
  const [error, setError] = useState<string | null>(null);
  const [kinds, setKinds] = useState<Kind[]>(BUILT_IN);
  const [channels, setChannels] = useState<string[]>([]);
  const [rehearsing, setRehearsing] = useState(false);
  useEffect(() => {
    loadKinds().then(setKinds, () => {});
    list<{ name: string }>("/v1/channels").then((found) => setChannels(found.map((one) => one.name)), () => {});
  }, []);
  const change = (part: Partial<Draft>) => setDraft({ ...draft, ...part });
  const kind = kinds.find((one) => one.kind === draft.action.type);
  const chosen = draft.delivery?.channels ?? [];
  const offered = [...new Set([...channels, "inbox", ...chosen])];
  const show = (next: string) => {
    if (next === "document") {
      setText(JSON.stringify(draft, null, 2));
      setBad(null);
    }
    setView(next);
  };
  const save = async () => {
    if (bad) return;
    const document = { ...draft, action: { ...draft.action, parameters: tidy(draft.action.parameters ?? {}) } };
    try {
      const saved = withId(given ? await patch<Automation>(`/v1/automations/${encodeURIComponent(given.id)}`, document) : await post<Automation>("/v1/automations", document));
      await loadAutomations();
      tell(t("told.saved"), "good");
      go(to(`automations/${saved.id ?? given?.id}`));
    } catch (problem) {
      setError(sentence(problem));
    }
  };
  return (
    <Page wide title={given ? t("automation.edit", { name: given.name }) : t("automation.new")} back={given ? { href: to(`automations/${given.id}`), label: given.name } : { href: "#/automations", label: t("nav.automations") }}>
      <form class="task-page" onSubmit={(event) => event.preventDefault()}>
        <div class="cards">
          <Tabs label={t("form.view")} chosen={view} onChoose={show} tabs={[{ id: "form", label: t("form.form") }, { id: "document", label: t("form.document") }]} />
          {view === "document" ? (
            <section class="card"><Field label={t("form.document")} error={bad} hint={t("form.document_hint")}>{(id) => <textarea id={id} class="code" rows={26} spellcheck={false} value={text} onInput={(event) => {
              setText(event.currentTarget.value);
              try {
                const parsed = JSON.parse(event.currentTarget.value) as Partial<Automation>;
                setDraft(editable({ ...parsed, action: { type: parsed.action?.type ?? "agent_turn", parameters: parsed.action?.parameters ?? {} } }));
                setBad(null);
              } catch (problem) {
                setBad(`${t("form.not_json")} ${(problem as Error).message}`);
              }
            }} />}</Field></section>
          ) : (
            <>
              <section class="card stack">
                <TextField label={t("form.name")} required value={draft.name ?? ""} placeholder={t("idea.brief")} onText={(text) => change({ name: text })} />
              </section>
              <Card class="stack" title={t("automation.when")}>
                <Tabs label={t("automation.when")} chosen={draft.type ?? "scheduled"} onChoose={(type) => setDraft(asType(draft, type as Automation["type"], zone))}
                  tabs={(["scheduled", "delayed", "event", "continuous"] as const).map((id) => ({ id, label: t(`type.${id}`) }))} />
                {draft.type === "scheduled" && draft.schedule && <ScheduleFields schedule={draft.schedule} onChange={(schedule) => change({ schedule })} />}
                {draft.type === "delayed" && <TextField label={t("form.delay")} hint={t("form.duration_hint")} value={draft.schedule?.delay ?? ""} onText={(text) => change({ schedule: { type: "after", delay: text } })} />}
                {draft.type === "event" && (
                  <div class="pair">
                    <Field label={t("form.source")}>{(id) => <><input id={id} list="sources" value={draft.on?.source ?? ""} onInput={(event) => change({ on: { ...draft.on, source: event.currentTarget.value } })} />
                      <datalist id="sources">{["email", "webhook", "file", "rss", "mqtt", "calendar", "task", "process"].map((one) => <option value={one} />)}</datalist></>}</Field>
                    <TextField label={t("form.filter")} hint={t("form.filter_hint")} code value={draft.on?.filter ?? ""} onText={(text) => change({ on: { source: draft.on?.source ?? "email", filter: text } })} />
                  </div>
                )}
                {draft.type === "continuous" && draft.watch && <WatchFields watch={draft.watch} onChange={(watch) => change({ watch })} />}
              </Card>
              <Card class="stack" title={t("automation.does")}>
                <KindField kinds={kinds} kind={draft.action.type} onChoose={(type, parameters) => change({ action: { type, parameters } })} />
                <SchemaForm key={draft.action.type} schema={kind?.schema} values={draft.action.parameters ?? {}} onChange={(parameters) => change({ action: { ...draft.action, parameters } })} />
              </Card>
              <Card class="stack" title={t("automation.tells")}>
                <div class="row checks">
                  {offered.map((name) => (
                    <label key={name} class="check"><input type="checkbox" checked={chosen.includes(name)} onChange={(event) => change({ delivery: { ...draft.delivery, channels: event.currentTarget.checked ? [...chosen, name] : chosen.filter((one) => one !== name) } })} /> {word("target", name)}</label>
                  ))}
                </div>
                <details class="more"><summary>{t("automation.policy")}</summary><PolicyFields policy={draft.policy ?? {}} onChange={(policy) => change({ policy })} /></details>
              </Card>
            </>
          )}
          {error && <p class="notice bad" role="alert"><span>{error}</span></p>}
          <div class="row">
            <Button kind="primary" type="submit" disabled={Boolean(bad) || !draft.name} onClick={save}>{given ? t("save") : t("automation.create")}</Button>
            <Button kind="quiet" icon="eye" onClick={() => setRehearsing(true)}>{t("automation.dry_run")}</Button>
            <a class="button quiet" href={given ? to(`automations/${given.id}`) : "#/automations"}>{t("cancel")}</a>
          </div>
        </div>
        <div class="cards side"><Preview draft={draft} /></div>
      </form>
      <Rehearse open={rehearsing} onClose={() => setRehearsing(false)} load={() => post("/v1/automations/dry-run", draft)} />
    </Page>
  );
}
