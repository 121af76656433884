/** What was told: results and notices kept for the person. Read on one device is read on all. */

import { post } from "../api";
import { t } from "../i18n";
import { inbox, loadInbox, unread, type Kept } from "../store/lists";
import { loaded } from "../store/live";
import { Markdown } from "../ui/markdown";
import { Button, Chip, Empty, Loading, Page, When } from "../ui/parts";
import { TaskLink } from "../ui/tasklink";

async function read(messages: Kept[]): Promise<void> {
  const time = new Date().toISOString();
  const ids = new Set(messages.map((one) => one.delivery_id));
  inbox.value = inbox.value.map((one) => (ids.has(one.delivery_id) ? { ...one, read_at: time } : one));
  try {
    await Promise.all(messages.map((one) => post(`/v1/inbox/${encodeURIComponent(one.delivery_id)}/read`)));
  } finally {
    await loadInbox();
  }
}

export default function Inbox() {
  const fresh = unread.value;
  return (
    <Page title={t("nav.inbox")} lead={t("inbox.lead")} actions={fresh.length > 0 && <Button icon="check" onClick={() => read(fresh)}>{t("inbox.read_all")}</Button>}>
      {!loaded.value ? <Loading /> : !inbox.value.length ? <Empty icon="bell" title={t("inbox.none")}>{t("inbox.none_hint")}</Empty> : (
        <ul class="list">
          {inbox.value.map((one) => (
            <li key={one.delivery_id} class={`kept${one.read_at ? "" : " unread"}`} data-message={one.delivery_id}>
              <div class="grow">
                <span class="row">{one.title && <span class="title">{one.title}</span>}{one.severity !== "normal" && one.severity !== "low" && <Chip tone={one.severity === "critical" ? "bad" : "need"}>{t(one.severity === "critical" ? "inbox.critical" : "inbox.high")}</Chip>}<span class="hint push"><When time={one.created_at} /></span></span>
                <Markdown text={one.text} />
                <span class="row hint">{one.task_id && <TaskLink id={one.task_id} title={t("task.open")} />}{!one.read_at && <button type="button" class="link push" onClick={() => void read([one])}>{t("inbox.read")}</button>}</span>
              </div>
            </li>
          ))}
        </ul>
      )}
    </Page>
  );
}
