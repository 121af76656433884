/** The week: what ran, what was missed or skipped, what is planned. */

import { get } from "../api";
import { t, word } from "../i18n";
import { clock, day, longDay, spoken } from "../format";
import { place, setQuery, to } from "../router";
import { automations } from "../store/lists";
import { loaded, now, serverStatus } from "../store/live";
import type { Occurrence, Page as PageOf } from "../types";
import { Icon, type IconName } from "../ui/icon";
import { Button, Empty, Loading, Page, Problem, useLoad } from "../ui/parts";

const DAY = 86_400_000;
const MANY = 4;

/** Monday 00:00, by this device's zone, of the week that is `offset` weeks from the present one. */
export function weekStart(present: number, offset: number): Date {
  const date = new Date(present);
  date.setHours(0, 0, 0, 0);
  date.setDate(date.getDate() - ((date.getDay() + 6) % 7) + 7 * offset);
  return date;
}

/** The hour and minute a zone shows at a moment: two names of one zone show the same. */
function offsetIn(zone: string, date: Date): string {
  try {
    return date.toLocaleString("en-GB", { timeZone: zone });
  } catch {
    return "";
  }
}

export interface Entry { name: string; automation: string; slots: Occurrence[] }

/** A day's slots; what comes more than a few times a day is folded into one entry. */
export function entriesOf(slots: Occurrence[]): Entry[] {
  const byAutomation = new Map<string, Occurrence[]>();
  for (const slot of slots) {
    const key = slot.automation_id ?? slot.name ?? "";
    byAutomation.set(key, [...(byAutomation.get(key) ?? []), slot]);
  }
  const entries: Entry[] = [];
  for (const [automation, own] of byAutomation) {
    const name = own[0]!.name ?? automation;
    if (own.length > MANY) entries.push({ name, automation, slots: own });
    else entries.push(...own.map((slot) => ({ name, automation, slots: [slot] })));
  }
  return entries.sort((a, b) => (a.slots[0]!.slot < b.slots[0]!.slot ? -1 : 1));
}

const ICON: Record<Occurrence["status"], IconName> = { planned: "clock", ran: "check", caught_up: "retry", missed: "alert", skipped: "right" };

function EntryCard({ entry }: { entry: Entry }) {
  const first = entry.slots[0]!;
  const last = entry.slots.at(-1)!;
  const many = entry.slots.length > 1;
  const worst = (["missed", "skipped", "caught_up", "ran", "planned"] as const).find((status) => entry.slots.some((slot) => slot.status === status)) ?? "planned";
  const count = (status: Occurrence["status"]) => entry.slots.filter((slot) => slot.status === status).length;
  const href = !many && first.task_id ? `#/tasks/${first.task_id}` : to(`automations/${entry.automation}`);
  const notes = (["missed", "skipped", "caught_up"] as const).filter((status) => count(status));
  return (
    <li>
      <a class={`slot s-${worst}`} href={href} title={spoken(first.reason, now.value) || word("slot", worst)}>
        <span class="slot-time"><Icon name={ICON[worst]} size={13} />{many ? `${clock(first.slot)} – ${clock(last.slot)}` : clock(first.slot)}{many && <b>×{entry.slots.length}</b>}</span>
        <span class="slot-name">{entry.name}</span>
        {many ? notes.map((status) => <span class="slot-note" key={status}>{count(status)} {word("slot", status)}</span>) : worst !== "planned" && worst !== "ran" && <span class="slot-note">{word("slot", worst)}{first.reason ? `: ${spoken(first.reason, now.value)}` : ""}</span>}
      </a>
    </li>
  );
}

export default function Calendar() {
  const offset = Number(place.value.query.get("week") ?? 0) || 0;
  const start = weekStart(now.peek(), offset);
  const days = Array.from({ length: 7 }, (_, n) => new Date(start.getFullYear(), start.getMonth(), start.getDate() + n));
  const end = new Date(start.getFullYear(), start.getMonth(), start.getDate() + 7);
  const ran = automations.value.map((one) => `${one.last_run}${one.next_run}${one.status}`).join();
  const { data, error, reload } = useLoad(() => get<PageOf<Occurrence>>("/v1/calendar", { from: start.toISOString(), to: end.toISOString() }), `${start.getTime()}:${loaded.value}:${ran}`);
  const today = new Date(now.value).toDateString();
  const move = (weeks: number) => setQuery({ week: offset + weeks === 0 ? null : String(offset + weeks) });
  const zone = serverStatus.value.timezone;
  const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const differs = zone !== undefined && offsetIn(zone, start) !== offsetIn(own, start);
  return (
    <Page wide title={t("nav.calendar")} lead={t("calendar.lead")} actions={<>
      <Button icon="left" label={t("calendar.before")} onClick={() => move(-1)} />
      <Button disabled={offset === 0} onClick={() => setQuery({ week: null })}>{t("calendar.now")}</Button>
      <Button icon="right" label={t("calendar.after")} onClick={() => move(1)} />
    </>}>
      {error ? <Problem error={error} retry={reload} /> : !data ? <Loading /> : (
        <>
          <p class="hint calendar-range">{longDay(days[0]!)} – {longDay(days[6]!)}{zone && differs ? ` · ${t("calendar.zone", { own, zone })}` : ""}</p>
          <ol class="week">
            {days.map((date) => {
              const slots = data.items.filter((one) => new Date(one.slot).toDateString() === date.toDateString());
              const shift = new Date(date.getTime() + DAY * 1.2).getTimezoneOffset() !== date.getTimezoneOffset() && new Date(date.getFullYear(), date.getMonth(), date.getDate() + 1).getTimezoneOffset() !== date.getTimezoneOffset();
              return (
                <li key={date.getTime()} class={date.toDateString() === today ? "today" : ""}>
                  <h2>{day(date)}</h2>
                  {shift && <p class="hint">{t("calendar.shift")}</p>}
                  <ul>{entriesOf(slots).map((entry) => <EntryCard key={`${entry.automation}${entry.slots[0]!.slot}`} entry={entry} />)}</ul>
                  {!slots.length && <p class="week-none">–</p>}
                </li>
              );
            })}
          </ol>
          {!automations.value.length && <Empty icon="calendar" title={t("automations.none")} action={<a class="button primary" href="#/automations/new">{t("automation.new")}</a>}>{t("automations.none_hint")}</Empty>}
        </>
      )}
    </Page>
  );
}
