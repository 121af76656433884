/** A question only a person may answer: all of it is shown, as it is, before a yes can be given. */

import { useState } from "preact/hooks";
import { ApiError, post } from "../api";
import { said, t, word } from "../i18n";
import { now } from "../store/live";
import { loadApprovals, putApproval } from "../store/lists";
import { refresh } from "../store/tasks";
import type { Approval } from "../types";
import { duration, revealed } from "../format";
import { asText, Button, Chip, Fact, Plain, tell, When } from "./parts";
import { Icon } from "./icon";
import { TaskName } from "./tasklink";

interface Answer { always?: boolean; note?: string; arguments?: Record<string, unknown> }

/** Answer; when another device was first, say what became of it. */
export async function answer(approval: Approval, verb: "approve" | "deny", body: Answer = {}): Promise<void> {
  try {
    const done = await post<Approval>(`/v1/approvals/${approval.approval_id}/${verb}`, body);
    putApproval(done?.approval_id ? { ...approval, ...done } : { ...approval, status: verb === "approve" ? "approved" : "denied" });
    tell(t(verb === "approve" ? "told.approved" : "told.denied", { tool: word("tool", approval.tool) }), "good");
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 409) throw error;
    const outcome = (error.body as { approval?: Approval }).approval;
    if (outcome) putApproval({ ...approval, ...outcome });
    else await loadApprovals();
    tell(outcome ? t("told.answered_before", { outcome: word("answer", outcome.status), by: outcome.answered_by ?? "?" }) : error.message);
  }
  if (approval.task_id) refresh(approval.task_id);
}

function Arguments({ values }: { values: Record<string, unknown> }) {
  const entries = Object.entries(values ?? {});
  if (!entries.length) return <p class="hint">{t("approval.no_arguments")}</p>;
  return (
    <dl class="arguments">
      {entries.map(([name, value]) => {
        const text = asText(value);
        const long = text.length > 80 || text.includes("\n");
        return (
          <div key={name} class={long ? "long" : ""}>
            <dt><Plain text={name} /></dt>
            <dd><Plain text={text} block={long} /></dd>
          </div>
        );
      })}
    </dl>
  );
}

function ArgumentsEditor({ values, onChange }: { values: Record<string, unknown>; onChange: (next: Record<string, unknown>) => void }) {
  const [raw, setRaw] = useState<Record<string, { text: string; bad: boolean }>>({});
  return (
    <div class="stack">
      {Object.entries(values).map(([name, value]) => {
        const isText = typeof value === "string";
        const shown = raw[name]?.text ?? asText(value);
        return (
          <label class="field" key={name}>
            <span>{name}</span>
            <textarea rows={Math.min(12, shown.split("\n").length + (shown.length > 90 ? 2 : 0))} value={shown} spellcheck={false} aria-invalid={raw[name]?.bad || undefined}
              onInput={(event) => {
                const text = event.currentTarget.value;
                if (isText) {
                  setRaw({ ...raw, [name]: { text, bad: false } });
                  onChange({ ...values, [name]: text });
                  return;
                }
                try {
                  onChange({ ...values, [name]: JSON.parse(text) });
                  setRaw({ ...raw, [name]: { text, bad: false } });
                } catch {
                  onChange({ ...values, [name]: undefined });
                  setRaw({ ...raw, [name]: { text, bad: true } });
                }
              }} />
            {revealed(shown).length > 1 && <Plain block text={shown} />}
          </label>
        );
      })}
    </div>
  );
}

function expiresIn(approval: Approval): string {
  if (!approval.expires_at || approval.status !== "pending") return "";
  const seconds = (Date.parse(approval.expires_at) - now.value) / 1000;
  return seconds > 0 ? t("approval.expires", { time: duration(seconds) }) : t("approval.expiring");
}

function originText(origin: unknown): string {
  if (!origin) return "";
  if (typeof origin === "string") return word("origin", origin);
  const { by, via, trusted } = origin as { by?: string; via?: string; trusted?: boolean };
  return [by && word("origin", by), via && t("approval.via", { via: word("origin", via) }), trusted === false && t("approval.untrusted")].filter(Boolean).join(" · ") || asText(origin);
}

const isUntrusted = (origin: unknown): boolean => typeof origin === "object" && origin !== null && (origin as { trusted?: boolean }).trusted === false;

export function ApprovalCard({ approval, brief }: { approval: Approval; brief?: boolean }) {
  const [editing, setEditing] = useState(false);
  const [values, setValues] = useState(approval.arguments);
  const [denying, setDenying] = useState(false);
  const [note, setNote] = useState("");
  const pending = approval.status === "pending";
  const changed = editing && JSON.stringify(values) !== JSON.stringify(approval.arguments);
  // What is no JSON has no value: what was asked at first must not pass for it.
  const bad = editing && Object.values(values).includes(undefined);
  const edited = (): Answer => (changed ? { arguments: values } : {});
  const level = approval.level === null || approval.level === undefined || approval.level === "" ? null : String(approval.level);
  // A digest is nothing to read; it is kept with the question, and told where the whole of it is shown.
  const reason = said(brief ? approval.reason?.replace(/ \(sha256:\w+\)/g, "") : approval.reason);
  const Heading = brief ? "h3" : "h2";
  return (
    <div class={`approval a-${approval.status}${brief ? " brief" : ""}`} data-approval={approval.approval_id} data-status={approval.status} role="group" aria-label={t("approval.of", { tool: word("tool", approval.tool) })}>
      <header>
        <span class="approval-icon"><Icon name="hand" size={18} /></span>
        <div>
          <Heading>{word("tool", approval.tool)}{approval.operation && approval.operation !== approval.tool && !approval.tool.endsWith(approval.operation) && !approval.operation.startsWith(`${approval.tool}.`) ? <span class="faint"> · {approval.operation.replace(/_/g, " ")}</span> : null}</Heading>
          {reason && <p class="hint"><Plain text={reason} /></p>}
        </div>
        {level && <Chip tone={`level-${level}`} title={t("approval.level_hint")}>{/^\d+$/.test(level) ? t("approval.level", { n: level }) : word("level", level)}</Chip>}
      </header>
      {editing ? <ArgumentsEditor values={values} onChange={setValues} /> : <Arguments values={approval.arguments} />}
      {!brief && (
        <dl class="facts">
          {approval.origin ? <div><dt>{t("approval.origin")}</dt><dd class={isUntrusted(approval.origin) ? "warn" : ""}><Plain text={originText(approval.origin)} /></dd></div> : null}
          {approval.read?.length ? <Fact name={t("approval.read")}><ul>{approval.read.map((one) => <li key={asText(one)}><Plain text={typeof one === "object" && one && "what" in one ? String((one as { what: unknown }).what) : asText(one)} /></li>)}</ul></Fact> : null}
          {approval.task_id && <Fact name={t("approval.task")}><TaskName id={approval.task_id} /></Fact>}
          <Fact name={t("approval.asked")}><When time={approval.created_at} /></Fact>
          {!pending && <Fact name={word("answer", approval.status)}>{approval.answered_by ?? ""} <When time={approval.answered_at} />{approval.note ? <> – <Plain text={approval.note} /></> : null}</Fact>}
        </dl>
      )}
      {pending && (denying ? (
        <form class="stack" onSubmit={(event) => event.preventDefault()}>
          <label class="field"><span>{t("approval.note")}</span>
            <textarea rows={2} value={note} placeholder={t("approval.note_example")} onInput={(event) => setNote(event.currentTarget.value)} />
          </label>
          <div class="row">
            <Button kind="danger" action="deny" onClick={() => answer(approval, "deny", { note })}>{t("approval.deny_now")}</Button>
            <Button kind="quiet" onClick={() => setDenying(false)}>{t("back")}</Button>
          </div>
        </form>
      ) : (
        <div class="row approval-row">
          <Button kind="primary" icon="check" action="approve" disabled={bad} onClick={() => answer(approval, "approve", edited())}>{changed ? t("approval.approve_edited") : t("approval.approve")}</Button>
          <Button action="deny" onClick={() => answer(approval, "deny", {})}>{t("approval.deny")}</Button>
          {!brief && <Button kind="quiet" onClick={() => setDenying(true)}>{t("approval.deny_note")}</Button>}
          {!brief && <Button kind="quiet" icon="repeat" action="always" disabled={bad} label={t("approval.always_hint")} onClick={() => answer(approval, "approve", { always: true, ...edited() })}>{t("approval.always")}</Button>}
          {!brief && Object.keys(approval.arguments ?? {}).length > 0 && (
            <Button kind="quiet" icon="edit" pressed={editing} onClick={() => {
              setValues(approval.arguments);
              setEditing(!editing);
            }}>{editing ? t("approval.discard") : t("approval.edit")}</Button>
          )}
          {brief && <a class="button quiet" href={`#/approvals/${approval.approval_id}`}>{t("approval.more")}</a>}
          <span class="push hint">{expiresIn(approval)}</span>
        </div>
      ))}
    </div>
  );
}
