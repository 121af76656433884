/** Hand in a task: ask in words, or choose a kind and fill in what it takes. */

import { signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import { get, optional, post, randomKey } from "../api";
import { t } from "../i18n";
import { go } from "../router";
import { put } from "../store/tasks";
import type { Page, Task } from "../types";
import { Button, Dialog, Field, sentence, tell } from "./parts";
import { resolve, SchemaForm, type Schema } from "./schema";

export interface Kind { kind: string; title?: string; description?: string; schema?: Schema }

const open = signal(false);
const chosen = signal("agent_turn");

export function newTask(kind = "agent_turn"): void {
  chosen.value = kind;
  open.value = true;
}

/** What is always there, for a server that does not list its kinds. */
export const BUILT_IN: Kind[] = [
  { kind: "agent_turn", schema: { type: "object", properties: { message: { type: "string", format: "text" } }, required: ["message"] } },
  { kind: "remind", schema: { type: "object", properties: { text: { type: "string" } }, required: ["text"] } },
  { kind: "command", schema: { type: "object", properties: { argv: { type: "array", items: { type: "string" } }, cwd: { type: "string" } }, required: ["argv"] } },
  { kind: "http", schema: { type: "object", properties: { method: { type: "string", enum: ["GET", "POST", "PUT", "PATCH", "DELETE"], default: "GET" }, url: { type: "string" }, body: { type: "string", format: "text" } }, required: ["url"] } },
  { kind: "simulate", schema: { type: "object", properties: { steps: { type: "integer", default: 20 }, step_seconds: { type: "number", default: 1 } }, required: ["steps", "step_seconds"] } },
];

/** What the house fills in by itself; nobody types it. */
const INTERNAL: Record<string, string[]> = { agent_turn: ["input", "helper", "agent", "tools"] };

export async function loadKinds(): Promise<Kind[]> {
  const listed = (await optional(get<Page<Kind>>("/v1/kinds"), { items: [], next_cursor: null })).items;
  const shown = listed.map((kind) => {
    const whole = resolve(kind.schema ?? {}, kind.schema ?? {});
    const properties = Object.entries(whole.properties ?? {}).filter(([name]) => !INTERNAL[kind.kind]?.includes(name));
    return { ...kind, schema: { ...whole, $defs: kind.schema?.$defs, properties: Object.fromEntries(properties) } };
  });
  return shown.length ? shown : BUILT_IN;
}

/** The first values of what must be given; the rest is left to the server's own defaults. */
export function defaults(schema: Schema | undefined): Record<string, unknown> {
  const whole = resolve(schema ?? {}, schema ?? {});
  const values: Record<string, unknown> = {};
  for (const name of whole.required ?? []) {
    const value = whole.properties?.[name]?.default;
    if (value !== undefined && value !== null) values[name] = value;
  }
  return values;
}

/** Lists without the empty lines left while typing. */
export function tidy(values: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, Array.isArray(value) ? value.filter((one) => one !== "") : value]));
}

export function kindTitle(kind: Kind | string): string {
  const name = typeof kind === "string" ? kind : kind.kind;
  const given = typeof kind === "string" ? undefined : kind.title;
  const key = `kind.${name}`;
  const known = t(key as never);
  return known !== key ? known : (given ?? name.replace(/_/g, " "));
}

export function NewTask() {
  const [kinds, setKinds] = useState<Kind[]>(BUILT_IN);
  const [values, setValues] = useState<Record<string, unknown>>({});
  const [title, setTitle] = useState("");
  const [priority, setPriority] = useState("normal");
  const [notBefore, setNotBefore] = useState("");
  const [error, setError] = useState<string | null>(null);
  const [key, setKey] = useState(randomKey());
  const kind = kinds.find((one) => one.kind === chosen.value);
  useEffect(() => {
    if (!open.value) return;
    setKey(randomKey());
    setError(null);
    loadKinds().then((found) => {
      setKinds(found);
      setValues(defaults(found.find((one) => one.kind === chosen.value)?.schema));
    }, () => {});
  }, [open.value]);
  const submit = async () => {
    try {
      // The key stays the same while the dialog is open: pressing twice on a bad line still makes one task.
      const task = await post<Task>("/v1/tasks", {
        kind: chosen.value, params: tidy(values), priority,
        ...(title ? { title } : {}), ...(notBefore ? { not_before: notBefore } : {}),
      }, key);
      put(task);
      open.value = false;
      setTitle("");
      setValues({});
      tell(t("told.accepted", { title: task.title || task.kind }), "good", { label: t("task.open"), run: () => go(`#/tasks/${task.task_id}`) });
    } catch (problem) {
      setKey(randomKey());
      setError(sentence(problem));
    }
  };
  return (
    <Dialog title={t("task.new")} open={open.value} onClose={() => {
      open.value = false;
    }}>
      <form class="stack" onSubmit={(event) => event.preventDefault()}>
        <Field label={t("task.kind")} hint={kind?.description}>
          {(id) => (
            <select id={id} value={chosen.value} onChange={(event) => {
              chosen.value = event.currentTarget.value;
              setValues(defaults(kinds.find((one) => one.kind === event.currentTarget.value)?.schema));
            }}>
              {kinds.map((one) => <option key={one.kind} value={one.kind}>{kindTitle(one)}</option>)}
            </select>
          )}
        </Field>
        <SchemaForm schema={kind?.schema} values={values} onChange={setValues} />
        <details class="more">
          <summary>{t("task.more")}</summary>
          <div class="stack">
            <Field label={t("task.title")}>{(id) => <input id={id} value={title} onInput={(event) => setTitle(event.currentTarget.value)} />}</Field>
            <div class="pair">
              <Field label={t("task.priority")}>{(id) => (
                <select id={id} value={priority} onChange={(event) => setPriority(event.currentTarget.value)}>
                  {(["interactive", "high", "normal", "low", "idle"] as const).map((one) => <option key={one} value={one}>{t(`priority.${one}`)}</option>)}
                </select>
              )}</Field>
              <Field label={t("task.not_before")} hint={t("task.not_before_hint")}>{(id) => <input id={id} value={notBefore} placeholder="30m" onInput={(event) => setNotBefore(event.currentTarget.value)} />}</Field>
            </div>
          </div>
        </details>
        {error && <p class="field-error" role="alert">{error}</p>}
        <div class="row end">
          <Button kind="primary" type="submit" onClick={submit}>{t("task.start")}</Button>
        </div>
      </form>
    </Dialog>
  );
}
