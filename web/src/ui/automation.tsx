/** Words for an automation: when it comes, what it does. */

import { t, word } from "../i18n";
import { moment } from "../format";
import { now } from "../store/live";
import type { Automation, Schedule } from "../types";
import { kindTitle } from "./newtask";

export type Draft = Partial<Automation> & { action: Automation["action"] };

const READ_ONLY = ["id", "task_id", "automation_id", "created_at", "updated_at", "last_run", "next_run", "next_runs", "reason", "failures", "version", "origin", "owner"] as const;

/** What a person may change of a document. */
export function editable(document: Partial<Automation>): Draft {
  const copy: Record<string, unknown> = { ...document };
  for (const name of READ_ONLY) delete copy[name];
  return copy as Draft;
}

const plain = /^(\d{1,2}) (\d{1,2}) \* \* (\*|1-5|[0-7])$/;

/** The commonest cron lines in words; any other as it is, as a wrong paraphrase is worse than none. */
export function cronText(expression: string): string {
  const match = plain.exec(expression.trim());
  if (!match) return expression;
  const time = `${match[2]!.padStart(2, "0")}:${match[1]!.padStart(2, "0")}`;
  if (match[3] === "*") return t("when.daily", { time });
  if (match[3] === "1-5") return t("when.weekdays", { time });
  return t("when.weekly", { day: t(`weekday.${Number(match[3]) % 7}` as "weekday.0"), time });
}

export function scheduleText(schedule: Schedule | undefined): string {
  if (!schedule) return "";
  switch (schedule.type) {
    case "cron": return cronText(schedule.expression ?? "");
    case "every": return t("when.every", { interval: schedule.interval ?? "?" });
    case "at": return t("when.at", { time: moment(schedule.time, now.value) });
    case "after": return t("when.after", { delay: schedule.delay ?? "?" });
    case "rrule": return schedule.expression ?? "";
  }
}

export function whenText(automation: Partial<Automation>): string {
  if (automation.type === "event") return automation.on?.filter ? t("when.event_if", { source: word("source", automation.on.source), filter: automation.on.filter }) : t("when.event", { source: word("source", automation.on?.source) });
  if (automation.type === "continuous") return t("when.watch", { every: automation.watch?.every ?? "?", condition: automation.watch?.condition ?? "?" });
  return scheduleText(automation.schedule);
}

export function actionText(automation: Partial<Automation>): string {
  const { type = "", parameters = {} } = automation.action ?? {};
  const detail = parameters.message ?? parameters.text ?? parameters.url ?? (Array.isArray(parameters.argv) ? parameters.argv.join(" ") : undefined);
  return typeof detail === "string" && detail ? `${kindTitle(type)}: ${detail.length > 60 ? `${detail.slice(0, 58)}…` : detail}` : kindTitle(type);
}
