/** Every conversation, whichever channel it runs over. */

import { useEffect } from "preact/hooks";
import { list, post } from "../api";
import { t } from "../i18n";
import { compact, number } from "../format";
import { to } from "../router";
import { loaded, onEvent } from "../store/live";

import { Icon } from "../ui/icon";
import { Button, Chip, Empty, Loading, Page, Problem, tell, useLoad, When } from "../ui/parts";

interface Session { key: string; title?: string; channel?: string | null; messages?: number; updated_at?: string; tokens?: number }

export default function Sessions() {
  const { data, error, reload } = useLoad(() => list<Session>("/v1/sessions", { limit: 200 }), loaded.value);
  useEffect(() => onEvent((event) => {
    if (event.type === "message.sent") void reload();
  }), []);
  const act = async (session: Session, verb: "reset" | "compact") => {
    await post(`/v1/sessions/${encodeURIComponent(session.key)}/${verb}`);
    tell(t(verb === "reset" ? "sessions.was_reset" : "sessions.was_compacted", { name: session.title || session.key }), "good");
    await reload();
  };
  return (
    <Page title={t("nav.sessions")} lead={t("sessions.lead")}>
      {error ? <Problem error={error} retry={reload} /> : !data ? <Loading /> : !data.length ? (
        <Empty icon="people" title={t("sessions.none")} action={<a class="button primary" href="#/chat/main"><Icon name="chat" size={18} /><span>{t("board.new.chat")}</span></a>}>{t("sessions.none_hint")}</Empty>
      ) : (
        <ul class="list">
          {data.map((one) => (
            <li key={one.key} class="automation-row">
              <div class="grow">
                <span class="row"><a class="title list-link" href={to(`chat/${one.key}`)}>{one.title || (one.key === "main" ? t("chat.main") : one.key)}</a>{one.channel && <Chip>{one.channel}</Chip>}</span>
                <span class="hint">{[one.messages !== undefined && t("sessions.messages", { n: number(one.messages) }), one.tokens && t("sessions.tokens", { n: compact(one.tokens) })].filter(Boolean).join(" · ")}</span>
              </div>
              <span class="hint"><When time={one.updated_at} /></span>
              <div class="row-commands">
                <Button small kind="quiet" label={t("sessions.compact_hint")} onClick={() => act(one, "compact")}>{t("sessions.compact")}</Button>
                <Button small kind="quiet" label={t("sessions.reset_hint")} onClick={() => act(one, "reset")}>{t("sessions.reset")}</Button>
              </div>
            </li>
          ))}
        </ul>
      )}
    </Page>
  );
}
