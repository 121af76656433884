/** Where results and questions reach the person. */

import { list, post } from "../api";
import { t } from "../i18n";
import { loaded } from "../store/live";

import { Icon } from "../ui/icon";
import { Button, Chip, Empty, Loading, Page, Plain, Problem, StatusChip, tell, useLoad, When } from "../ui/parts";

interface Channel { name: string; kind: string; status?: string; detail?: string | null; error?: string | null; last_sent?: string | null; can?: string[] }

const EXAMPLE = `[[channels.telegram]]
token = "env:TELEGRAM_TOKEN"
allow = [12345678]

[[channels.email]]
from = "assistant@example.org"
smtp = "smtp://127.0.0.1:2525"
to = "me@example.org"`;

export default function Channels() {
  const { data, error, reload } = useLoad(() => list<Channel>("/v1/channels"), loaded.value);
  return (
    <Page title={t("nav.channels")} lead={t("channels.lead")}>
      {error ? <Problem error={error} retry={reload} /> : !data ? <Loading /> : !data.length ? (
        <Empty icon="send" title={t("channels.none")}>{t("channels.none_hint")}</Empty>
      ) : (
        <ul class="list">{data.map((one) => (
          <li key={one.name} data-channel={one.name}>
            <span class="automation-icon"><Icon name="send" /></span>
            <div class="grow">
              <span class="row"><span class="title">{one.name}</span>{one.kind !== one.name && <Chip>{one.kind}</Chip>}{one.status && <StatusChip status={one.status} group="channel" />}</span>
              {(one.detail ?? one.error) && <span class={one.status === "down" ? "field-error" : "hint"}><Plain text={String(one.detail ?? one.error)} /></span>}
              {one.last_sent && <span class="hint">{t("channels.last")} <When time={one.last_sent} /></span>}
            </div>
            <Button small onClick={async () => {
              await post(`/v1/channels/${encodeURIComponent(one.name)}/test`);
              tell(t("channels.tested", { name: one.name }), "good");
              await reload();
            }}>{t("channels.test")}</Button>
          </li>
        ))}</ul>
      )}
      <details class="card" open={data?.length === 0}><summary>{t("channels.add")}</summary><p class="hint">{t("channels.add_hint")}</p><pre class="plain" tabIndex={0}>{EXAMPLE}</pre></details>
    </Page>
  );
}
