/** Who did what, when, with what outcome: hash-chained, to be filtered, checked and taken away. */

import { useEffect, useState } from "preact/hooks";
import { get, optional, withQuery } from "../api";
import { t } from "../i18n";
import { moment, number, shortIds } from "../format";
import { place, setQuery } from "../router";
import { loaded, now } from "../store/live";
import type { Page as PageOf } from "../types";
import { Icon } from "../ui/icon";
import { asText, Button, Chip, Empty, Loading, Page, Plain, Problem } from "../ui/parts";
import { TaskLink } from "../ui/tasklink";

interface Row { seq: number; time: string; actor: string; action: string; task_id: string | null; detail: unknown; usage: unknown; decision: string | null; hash: string; previous: string }
interface Verdict { ok: boolean; rows?: number; broken_at?: number | null; head?: string }

const FILTERS = ["action", "actor", "task_id", "after", "before"] as const;

/** A value on one line: hashes and ids by their ends. */
function short(value: unknown): string {
  const text = typeof value === "string" ? value : (JSON.stringify(value) ?? "");
  return shortIds(text.replace(/\b[0-9a-f]{24,}\b/g, (hash) => `${hash.slice(0, 8)}…`));
}

function Detail({ row }: { row: Row }) {
  const text = asText(row.detail ?? {});
  if (text === "{}" || !text) return null;
  const line = typeof row.detail === "object" && row.detail ? Object.entries(row.detail).map(([name, value]) => `${name}: ${short(value)}`).join(" · ") : text;
  if (line.length < 110) return <Plain text={line} />;
  return <details><summary class="clip"><Plain text={line.slice(0, 88)} />…</summary><Plain block text={JSON.stringify({ detail: row.detail, usage: row.usage, hash: row.hash, previous: row.previous }, null, 2)} /></details>;
}

export default function Audit() {
  const query = place.value.query;
  const filter = Object.fromEntries(FILTERS.map((name) => [name, query.get(name) ?? ""]));
  const key = JSON.stringify(filter);
  const [rows, setRows] = useState<Row[] | null>(null);
  const [cursor, setCursor] = useState<string | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [verdict, setVerdict] = useState<Verdict | null>(null);
  const load = async (from: string | null) => {
    try {
      const page = await get<PageOf<Row>>("/v1/audit", { ...filter, limit: 100, cursor: from });
      setRows((before) => (from && before ? [...before, ...page.items] : page.items));
      setCursor(page.next_cursor);
      setError(null);
    } catch (problem) {
      setError(problem);
    }
  };
  useEffect(() => {
    const timer = setTimeout(() => void load(null), rows === null ? 0 : 250);
    return () => clearTimeout(timer);
  }, [key, loaded.value]);
  const filtered = FILTERS.some((name) => filter[name]);
  const field = (name: (typeof FILTERS)[number], isDay = false) => {
    const change = (event: { currentTarget: HTMLInputElement }) => setQuery({ [name]: event.currentTarget.value });
    const value = filter[name];
    return (
      <label class="filter"><span>{t(`audit.by.${name}`)}</span>
        {isDay ? <input type="date" value={value} onInput={change} /> : <input value={value} placeholder={name === "action" ? "task.run" : name === "actor" ? "owner" : ""} onInput={change} />}
      </label>
    );
  };
  return (
    <Page wide title={t("nav.audit")} lead={t("audit.lead")} actions={<>
      <Button icon="check" onClick={async () => setVerdict(await optional(get<Verdict>("/v1/audit/verify"), null))}>{t("audit.verify")}</Button>
      <a class="button plain" href={withQuery("/v1/audit/export", { ...filter, format: "csv" })} download="audit.csv"><Icon name="download" size={18} /><span>CSV</span></a>
      <a class="button plain" href={withQuery("/v1/audit/export", { ...filter, format: "jsonl" })} download="audit.jsonl"><Icon name="download" size={18} /><span>JSON Lines</span></a>
    </>}>
      {verdict && (
        <p class={`notice ${verdict.ok ? "good" : "bad"}`} role="status"><Icon name={verdict.ok ? "check" : "alert"} />
          <span>{verdict.ok ? t("audit.whole", { n: number(verdict.rows ?? 0) }) : t("audit.broken", { seq: verdict.broken_at ?? "?" })} {verdict.head && <span class="mono">{verdict.head.slice(0, 16)}…</span>}</span></p>
      )}
      <div class="filters labelled" role="search">
        {field("action")}{field("actor")}{field("task_id")}{field("after", true)}{field("before", true)}
        {filtered && <Button kind="quiet" small icon="close" onClick={() => setQuery(Object.fromEntries(FILTERS.map((name) => [name, null])))}>{t("filter.clear")}</Button>}
      </div>
      {error ? <Problem error={error} retry={() => load(null)} /> : rows === null ? <Loading /> : rows.length === 0 ? (
        filtered ? <p class="hint">{t("column.no_match")}</p> : <Empty icon="audit" title={t("audit.none")}>{t("audit.none_hint")}</Empty>
      ) : (
        <>
          <div class="table-wrap" tabIndex={0} role="region" aria-label={t("nav.audit")}><table class="audit">
            <thead><tr>{["#", t("audit.time"), t("audit.by.actor"), t("audit.by.action"), t("task"), t("audit.detail")].map((text, n) => <th scope="col" class={n ? "" : "number"}>{text}</th>)}</tr></thead>
            <tbody>{rows.map((row) => (
              <tr key={row.seq}>
                <td class="number faint">{row.seq}</td><td class="nowrap">{moment(row.time, now.value)}</td><td title={row.actor}>{short(row.actor)}</td><td class="mono">{row.action}</td><td class="nowrap">{row.task_id && <TaskLink id={row.task_id} />}</td>
                <td>{row.decision && <Chip>{row.decision}</Chip>} <Detail row={row} /></td>
              </tr>
            ))}</tbody>
          </table></div>
          {cursor && <Button kind="quiet" onClick={() => load(cursor)}>{t("more")}</Button>}
        </>
      )}
    </Page>
  );
}
