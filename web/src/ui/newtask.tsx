/** Hand in a task: ask in words, or choose a kind and fill in what it takes. */

import { signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import { list, post, randomKey } from "../api";
import { about, t, word } from "../i18n";
import { go } from "../router";
import { put } from "../store/tasks";
import type { Task } from "../types";
import { Choice, PriorityField, TextField } from "./fields";
import { Button, Dialog, sentence, tell } from "./parts";
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
  const listed = await list<Kind>("/v1/kinds");
  const shown = listed.map((kind) => {
    const whole = resolve(kind.schema ?? {}, kind.schema ?? {});
    const properties = Object.entries(whole.properties ?? {}).filter(([name]) => !INTERNAL[kind.kind]?.includes(name));
    return { ...kind, schema: { ...whole, $defs: kind.schema?.$defs, properties: Object.fromEntries(properties) } };
  });
  return shown.length ? shown : BUILT_IN;
}

/** The first values of what must be given; the rest is left to the server's own defaults. */
function defaults(schema: Schema | undefined): Record<string, unknown> {
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

export const kindTitle = (kind: string): string => word("kind", kind);

interface KindProps { kinds: Kind[]; kind: string; onChoose: (kind: string, parameters: Record<string, unknown>) => void }

/** Which kind of task it is; another one starts with its own parameters. */
export function KindField({ kinds, kind, onChoose }: KindProps) {
  const known = (name: string) => kinds.find((one) => one.kind === name);
  return (
    <Choice label={t("task.kind")} hint={about(`kind.${kind}`, known(kind)?.description)} value={kind} options={[...new Set([kind, ...kinds.map((one) => one.kind)])]}
      text={kindTitle} onChoose={(one) => onChoose(one, defaults(known(one)?.schema))} />
  );
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
        <KindField kinds={kinds} kind={chosen.value} onChoose={(name, start) => {
          chosen.value = name;
          setValues(start);
        }} />
        <SchemaForm schema={kind?.schema} values={values} onChange={setValues} />
        <details class="more">
          <summary>{t("task.more")}</summary>
          <div class="stack">
            <TextField label={t("task.title")} value={title} onText={setTitle} />
            <div class="pair">
              <PriorityField value={priority} onChoose={setPriority} />
              <TextField label={t("task.not_before")} hint={t("task.not_before_hint")} value={notBefore} placeholder="30m" onText={setNotBefore} />
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
