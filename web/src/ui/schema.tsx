/** A form made from a JSON schema: what a kind of task takes, or a table of the settings. */

import { useState } from "preact/hooks";
import { about, t, word } from "../i18n";
import { Field } from "./fields";

export interface Schema {
  type?: string | string[];
  title?: string;
  description?: string;
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  enum?: unknown[];
  default?: unknown;
  format?: string;
  minimum?: number;
  maximum?: number;
  anyOf?: Schema[];
  allOf?: Schema[];
  $ref?: string;
  $defs?: Record<string, Schema>;
  definitions?: Record<string, Schema>;
  [key: string]: unknown;
}

/** The schema a reference points to, with what stands beside it. */
export function resolve(schema: Schema, root: Schema): Schema {
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop() ?? "";
    const { $ref: _, ...rest } = schema;
    return { ...resolve(root.$defs?.[name] ?? root.definitions?.[name] ?? {}, root), ...rest };
  }
  const choices = (schema.anyOf ?? schema.allOf)?.filter((one) => one.type !== "null");
  if (choices?.length && !schema.type) {
    const { anyOf: _a, allOf: _b, ...rest } = schema;
    return { ...resolve(choices[0]!, root), ...rest };
  }
  return schema;
}

export function typeOf(schema: Schema): string {
  const type = Array.isArray(schema.type) ? schema.type.find((one) => one !== "null") : schema.type;
  return type ?? (schema.properties ? "object" : schema.enum ? "string" : "any");
}

/** JSON to write; what is none is told and not taken. */
export function Json({ id, value, onChange }: { id: string; value: unknown; onChange: (value: unknown) => void }) {
  const [text, setText] = useState(value === undefined ? "" : JSON.stringify(value, null, 2));
  const [bad, setBad] = useState(false);
  return (
    <>
      <textarea id={id} class="mono" rows={Math.min(10, text.split("\n").length + 1)} spellcheck={false} value={text} aria-invalid={bad || undefined} placeholder="{ }"
        onInput={(event) => {
          const next = event.currentTarget.value;
          setText(next);
          try {
            onChange(next.trim() ? JSON.parse(next) : undefined);
            setBad(false);
          } catch {
            setBad(true);
          }
        }} />
      {bad && <p class="field-error">{t("form.not_json")}</p>}
    </>
  );
}

interface InputProps { id: string; name: string; schema: Schema; value: unknown; required: boolean; onChange: (value: unknown) => void }

const LONG = new Set(["message", "body", "input", "prompt", "text", "content"]);

function Input({ id, name, schema, value, required, onChange }: InputProps) {
  const type = typeOf(schema);
  if (schema.enum) {
    return (
      <select id={id} value={value === undefined ? "" : String(value)} onChange={(event) => onChange(schema.enum!.find((one) => String(one) === event.currentTarget.value))}>
        {!required && <option value="">{schema.default === undefined ? "–" : t("form.default", { value: String(schema.default) })}</option>}
        {schema.enum.filter((one) => one !== null).map((one) => <option value={String(one)}>{String(one)}</option>)}
      </select>
    );
  }
  if (type === "boolean") return <input id={id} type="checkbox" role="switch" checked={Boolean(value ?? schema.default)} onChange={(event) => onChange(event.currentTarget.checked)} />;
  if (type === "integer" || type === "number") {
    return <input id={id} type="number" required={required} inputMode="decimal" step={type === "integer" ? 1 : "any"} min={schema.minimum} max={schema.maximum} value={value === undefined || value === null ? "" : Number(value)}
      placeholder={schema.default === undefined || schema.default === null ? "" : String(schema.default)} onInput={(event) => onChange(event.currentTarget.value === "" ? undefined : event.currentTarget.valueAsNumber)} />;
  }
  if (type === "array" && ["string", "any", "number", "integer"].includes(typeOf(schema.items ?? {})) && !schema.items?.properties) {
    const isNumber = ["number", "integer"].includes(typeOf(schema.items ?? {}));
    return <textarea id={id} rows={Math.max(2, Array.isArray(value) ? value.length : 0)} spellcheck={false} placeholder={t("form.one_a_line")} value={Array.isArray(value) ? value.join("\n") : ""}
      onInput={(event) => {
        const lines = event.currentTarget.value.split("\n");
        const kept = lines.filter((line, place) => line !== "" || place === lines.length - 1 && lines.length > 1);
        onChange(kept.length ? (isNumber ? kept.filter(Boolean).map(Number) : kept) : undefined);
      }} />;
  }
  if (type === "string") {
    const props = { id, required, value: value === undefined || value === null ? "" : String(value), placeholder: schema.default ? String(schema.default) : "" };
    return schema.format === "text" || LONG.has(name)
      ? <textarea rows={3} {...props} onInput={(event) => onChange(event.currentTarget.value || undefined)} />
      : <input {...props} onInput={(event) => onChange(event.currentTarget.value || undefined)} />;
  }
  return <Json id={id} value={value} onChange={onChange} />;
}

interface FormProps { schema?: Schema; values: Record<string, unknown>; onChange: (values: Record<string, unknown>) => void }

export function SchemaForm({ schema, values, onChange }: FormProps) {
  const root = schema ?? {};
  const resolved = resolve(root, root);
  const properties = Object.entries(resolved.properties ?? {});
  const required = new Set(resolved.required ?? []);
  const set = (name: string, value: unknown) => {
    const next = { ...values };
    if (value === undefined) delete next[name];
    else next[name] = value;
    onChange(next);
  };
  if (!properties.length) return <Field label={t("form.parameters")}>{(id) => <Json id={id} value={Object.keys(values).length ? values : undefined} onChange={(value) => onChange((value ?? {}) as Record<string, unknown>)} />}</Field>;
  const needed = properties.filter(([name]) => required.has(name));
  const optional = properties.filter(([name]) => !required.has(name));
  // A form is never empty: where nothing must be given, the first two choices stand open.
  const first = needed.length ? needed : optional.slice(0, 2);
  const rest = needed.length ? optional : optional.slice(2);
  const row = ([name, given]: [string, Schema]) => {
    const property = resolve(given, root);
    return (
      <Field key={name} label={word("field", name)} hint={about(`field.${name}`, property.description)} inline={typeOf(property) === "boolean"}>
        {(id) => <Input id={id} name={name} schema={property} value={values[name]} required={required.has(name)} onChange={(value) => set(name, value)} />}
      </Field>
    );
  };
  return (
    <div class="stack">
      {first.map(row)}
      {rest.length > 3 ? <details class="more"><summary>{t("form.options", { n: rest.length })}</summary><div class="stack">{rest.map(row)}</div></details> : rest.map(row)}
    </div>
  );
}
