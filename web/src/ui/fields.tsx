/** What can be filled in: a label, something to fill in, and a hint or what is wrong with it. */

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { t } from "../i18n";

let last = 0;

/** A name for one element of the page, for labels to point to. */
export const useId = (): string => useState(() => `n${++last}`)[0];

interface LabelProps { label: string; hint?: ComponentChildren; error?: string | null }
interface FieldProps extends LabelProps { children: (id: string) => ComponentChildren; inline?: boolean }

export function Field({ label, hint, error, children, inline }: FieldProps) {
  const id = useId();
  return (
    <div class={`field${inline ? " inline" : ""}`}>
      <label for={id}>{label}</label>
      {children(id)}
      {error ? <p class="field-error" role="alert">{error}</p> : hint && <p class="hint">{hint}</p>}
    </div>
  );
}

interface TextProps extends LabelProps { value: string; onText: (text: string) => void; code?: boolean; required?: boolean; placeholder?: string; list?: string }

/** A line of text; `code` is text for machines. */
export function TextField({ label, hint, error, onText, code, list, ...rest }: TextProps) {
  return (
    <Field label={label} hint={hint} error={error}>
      {(id) => <input id={id} class={code ? "mono" : ""} spellcheck={!code} list={list} {...rest} onInput={(event) => onText(event.currentTarget.value)} />}
    </Field>
  );
}

interface ChoiceProps<T extends string> { value: string; options: readonly T[]; text: (option: T) => string; onChoose: (option: T) => void; id?: string; none?: string }

/** One of several; `none` is what no choice is called. */
export function Select<T extends string>({ id, value, options, text, onChoose, none }: ChoiceProps<T>) {
  return (
    <select id={id} value={value} onChange={(event) => onChoose(event.currentTarget.value as T)}>
      {none && <option value="">{none}</option>}
      {options.map((one) => <option value={one}>{text(one)}</option>)}
    </select>
  );
}

export function Choice<T extends string>({ label, hint, ...rest }: LabelProps & ChoiceProps<T>) {
  return <Field label={label} hint={hint}>{(id) => <Select id={id} {...rest} />}</Field>;
}

/** A choice whose label only those who do not see the page need. */
export function PlainChoice<T extends string>({ label, ...rest }: { label: string } & ChoiceProps<T>) {
  return <label><span class="visually-hidden">{label}</span><Select {...rest} /></label>;
}

const PRIORITIES = ["interactive", "high", "normal", "low", "idle"] as const;
export const NOTIFY = ["silent", "done_only", "state_changes", "on_failure"] as const;

export function PriorityField({ value, onChoose }: { value: string; onChoose: (one: string) => void }) {
  return <Choice label={t("task.priority")} value={value} options={PRIORITIES} text={(one) => t(`priority.${one}`)} onChoose={onChoose} />;
}
