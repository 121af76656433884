/** How the work goes: how much succeeds, how long it waits and takes, what it costs. */

import type { ComponentChildren } from "preact";
import { useEffect, useMemo } from "preact/hooks";
import { get } from "../api";
import { t, word } from "../i18n";
import { compact, duration, moment, money, number, percent } from "../format";
import { place, setQuery, to } from "../router";
import { soon } from "../store/lists";
import { loaded, now, onEvent } from "../store/live";
import { TERMINAL, type Status } from "../types";
import { kindTitle } from "../ui/newtask";
import { Card, Empty, Loading, Page, Problem, Tabs, useLoad } from "../ui/parts";

interface Quantiles { p50?: number | null; p95?: number | null }
interface Bucket { time: string; succeeded?: number; failed?: number; cost?: number | null }
interface Group { kind?: string; automation_id?: string; name?: string; count: number; success_rate?: number | null; cost?: number | null; p50?: number | null }
interface Stats {
  counts?: Partial<Record<Status, number>>; success_rate?: number | null; queue_wait?: Quantiles; run_time?: Quantiles; cost?: number | null; tokens?: { input?: number; output?: number };
  series?: Bucket[]; by_kind?: Group[]; by_automation?: Group[];
}

type Known = number | null | undefined;
const known = (value: Known, say: (value: number) => string): string => (value === null || value === undefined ? "–" : say(value));
const seconds = (value: Known): string => known(value, duration);
const share = (value: Known): string => known(value, percent);

function Figure({ label, value, note }: { label: string; value: string; note?: string }) {
  return <div class="figure-card"><h2>{label}</h2><p class="figure-value">{value}</p>{note && <p class="hint">{note}</p>}</div>;
}

function Bars({ series }: { series: Bucket[] }) {
  const most = Math.max(1, ...series.map((one) => (one.succeeded ?? 0) + (one.failed ?? 0)));
  const width = 100 / series.length;
  const label = (time: string) => moment(time, now.value);
  const total = series.reduce((sum, one) => sum + (one.succeeded ?? 0) + (one.failed ?? 0), 0);
  const failed = series.reduce((sum, one) => sum + (one.failed ?? 0), 0);
  return (
    <figure class="chart">
      <svg viewBox="0 0 100 40" preserveAspectRatio="none" role="img" aria-label={t("metrics.chart", { n: total, failed })}>
        {series.map((one, n) => {
          const good = ((one.succeeded ?? 0) / most) * 38;
          const bad = ((one.failed ?? 0) / most) * 38;
          return (
            <g key={one.time}>
              <title>{`${label(one.time)}: ${one.succeeded ?? 0} / ${one.failed ?? 0}`}</title>
              <rect x={n * width} y={0} width={width} height={40} class="chart-hit" />
              <rect x={n * width + width * 0.15} y={40 - good} width={width * 0.7} height={good} class="chart-good" />
              <rect x={n * width + width * 0.15} y={40 - good - bad} width={width * 0.7} height={bad} class="chart-bad" />
            </g>
          );
        })}
      </svg>
      <figcaption><span>{label(series[0]!.time)}</span><span class="legend-item good">{t("status.succeeded")}</span><span class="legend-item bad">{t("status.failed")}</span><span>{label(series.at(-1)!.time)}</span></figcaption>
    </figure>
  );
}

function Table({ title, groups, name }: { title: string; groups: Group[]; name: (group: Group) => ComponentChildren }) {
  if (!groups.length) return null;
  return (
    <section>
      <h2 class="section">{title}</h2>
      <div class="table-wrap" tabIndex={0} role="region" aria-label={title}><table>
        <thead><tr>{[t("metrics.name"), t("metrics.count"), t("metrics.success"), t("metrics.typical"), t("usage.cost")].map((text, n) => <th scope="col" class={n ? "number" : ""}>{text}</th>)}</tr></thead>
        <tbody>{groups.map((one) => (
          <tr key={one.kind ?? one.automation_id}>
            <td>{name(one)}</td>{[number(one.count), share(one.success_rate), seconds(one.p50), money(one.cost ?? 0)].map((text) => <td class="number">{text}</td>)}
          </tr>
        ))}</tbody>
      </table></div>
    </section>
  );
}

const WINDOWS = ["24h", "7d", "30d"];

export default function Metrics() {
  const window = place.value.query.get("window") ?? "24h";
  const { data, error, reload } = useLoad(() => get<Stats>("/v1/stats", { window }), `${window}:${loaded.value}`);
  const again = useMemo(() => soon(reload, 1000), []);
  // Figures of a house at work are not those of the moment the page was opened.
  useEffect(() => onEvent(({ type }) => {
    if (TERMINAL.has(type.slice(5) as Status)) again();
  }), []);
  const counts = data?.counts ?? {};
  const ended = (["succeeded", "failed", "timed_out", "cancelled", "lost"] as const).reduce((sum, one) => sum + (counts[one] ?? 0), 0);
  const rate = data?.success_rate ?? (ended - (counts.cancelled ?? 0) > 0 ? (counts.succeeded ?? 0) / (ended - (counts.cancelled ?? 0)) : null);
  return (
    <Page wide title={t("nav.metrics")} lead={t("metrics.lead")}>
      <Tabs label={t("metrics.window")} chosen={window} onChoose={(one) => setQuery({ window: one === "24h" ? null : one })} tabs={WINDOWS.map((id) => ({ id, label: t(`window.${id}` as "window.24h") }))} />
      {error ? <Problem error={error} retry={reload} /> : !data ? <Loading /> : !Object.values(counts).some(Boolean) ? (
        <Empty icon="chart" title={t("metrics.none")} action={<a class="button plain" href="#/">{t("nav.board")}</a>}>{t("metrics.none_hint")}</Empty>
      ) : (
        <>
          <div class="figures">
            <Figure label={t("metrics.success")} value={share(rate)} note={t("metrics.ended", { n: ended })} />
            <Figure label={t("metrics.wait")} value={seconds(data.queue_wait?.p50)} note={t("metrics.p95", { time: seconds(data.queue_wait?.p95) })} />
            <Figure label={t("metrics.time")} value={seconds(data.run_time?.p50)} note={t("metrics.p95", { time: seconds(data.run_time?.p95) })} />
            <Figure label={t("usage.cost")} value={money(data.cost ?? 0)} note={data.tokens ? `${t("usage.tokens")}: ${t("usage.tokens_of", { input: compact(data.tokens.input ?? 0), output: compact(data.tokens.output ?? 0) })}` : undefined} />
          </div>
          {data.series && data.series.length > 1 && <Card title={t("metrics.over_time")}><Bars series={data.series} /></Card>}
          <section>
            <h2 class="section">{t("metrics.outcomes")}</h2>
            <ul class="outcomes">{Object.entries(counts).filter(([, n]) => n).map(([status, n]) => <li key={status}><a href={to("", { status })}><strong>{number(n ?? 0)}</strong> {word("status", status)}</a></li>)}</ul>
          </section>
          <Table title={t("metrics.by_kind")} groups={data.by_kind ?? []} name={(one) => kindTitle(one.kind ?? "")} />
          <Table title={t("metrics.by_automation")} groups={data.by_automation ?? []} name={(one) => <a href={to(`automations/${one.automation_id}`)}>{one.name ?? one.automation_id}</a>} />
        </>
      )}
    </Page>
  );
}
