/** Everything that waits for a person's yes, and what was answered before. */

import { del, get, list, optional } from "../api";
import { t, word } from "../i18n";
import { place, setQuery } from "../router";
import { approvals, pendingApprovals, putApproval } from "../store/lists";
import { loaded } from "../store/live";
import type { Approval } from "../types";
import { ApprovalCard } from "../ui/approval";
import { asText, Button, Empty, Loading, Page, Plain, Problem, tell, Tabs, useLoad, When } from "../ui/parts";

interface Grant { grant_id: string; tool: string; operation: string; arguments: Record<string, unknown>; granted_by: string; created_at: string; expires_at?: string | null }

/** Standing grants: what needs no question any more, to be taken back. */
function Grants() {
  const { data, error, reload } = useLoad(() => list<Grant>("/v1/grants"), `${loaded.value}${approvals.value.length}`);
  if (error) return <Problem error={error} retry={reload} />;
  if (!data) return <Loading />;
  if (!data.length) return <Empty icon="repeat" title={t("grants.none")}>{t("grants.none_hint")}</Empty>;
  return (
    <ul class="list">{data.map((one) => (
      <li key={one.grant_id}>
        <div class="grow"><span class="title">{word("tool", one.tool)}</span><span class="mono hint"><Plain text={asText(one.arguments)} /></span>
          <span class="hint">{one.granted_by} · <When time={one.created_at} />{one.expires_at && <> · {t("grants.until")} <When time={one.expires_at} as="moment" /></>}</span></div>
        <Button small onClick={async () => {
          await del(`/v1/grants/${encodeURIComponent(one.grant_id)}`);
          tell(t("grants.revoked"), "good");
          await reload();
        }}>{t("grants.revoke")}</Button>
      </li>
    ))}</ul>
  );
}

function One({ id }: { id: string }) {
  const known = approvals.value.find((one) => one.approval_id === id);
  const { data, error } = useLoad(async () => {
    const found = known ?? (await optional(get<Approval>(`/v1/approvals/${encodeURIComponent(id)}`), null));
    if (found && !known) putApproval(found);
    return { found };
  }, `${id}:${loaded.value}`);
  return (
    <Page title={t("nav.approvals")} back={{ href: "#/approvals", label: t("approvals.all") }}>
      {known ? <ApprovalCard approval={known} /> : error ? <Problem error={error} /> : data && loaded.value ? <Empty icon="hand" title={t("error.missing")} /> : <Loading />}
    </Page>
  );
}

export default function Approvals({ id }: { id: string }) {
  if (id) return <One id={id} />;
  const shows = place.value.query.get("show") ?? "open";
  const open = pendingApprovals.value;
  const history = approvals.value.filter((one) => one.status !== "pending").sort((a, b) => ((a.answered_at ?? a.created_at) < (b.answered_at ?? b.created_at) ? 1 : -1));
  const list = shows === "open" ? open : history;
  return (
    <Page title={t("nav.approvals")} lead={t("approvals.lead")}>
      <Tabs label={t("nav.approvals")} chosen={shows} onChoose={(one) => setQuery({ show: one === "open" ? null : one })} tabs={[{ id: "open", label: t("approvals.open"), count: open.length }, { id: "history", label: t("approvals.history") }, { id: "always", label: t("grants") }]} />
      {shows === "always" ? <Grants /> : !loaded.value ? <Loading /> : list.length === 0 ? (
        <Empty icon="hand" title={t(shows === "open" ? "approvals.none" : "approvals.no_history")}>{t("approvals.none_hint")}</Empty>
      ) : <div class="cards">{list.map((one) => <ApprovalCard key={one.approval_id} approval={one} />)}</div>}
    </Page>
  );
}
