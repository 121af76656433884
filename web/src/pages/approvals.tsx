/** Everything that waits for a person's yes, and what was answered before. */

import { get, optional } from "../api";
import { t } from "../i18n";
import { place, setQuery } from "../router";
import { approvals, pendingApprovals, putApproval } from "../store/lists";
import { loaded } from "../store/live";
import type { Approval } from "../types";
import { ApprovalCard } from "../ui/approval";
import { Empty, Loading, Page, Problem, Tabs, useLoad } from "../ui/parts";

function One({ id }: { id: string }) {
  const known = approvals.value.find((one) => one.approval_id === id);
  const { error } = useLoad(async () => {
    const found = known ?? (await optional(get<Approval>(`/v1/approvals/${encodeURIComponent(id)}`), null));
    if (found && !known) putApproval(found);
    return found;
  }, `${id}:${loaded.value}`);
  return (
    <Page title={t("nav.approvals")} back={{ href: "#/approvals", label: t("approvals.all") }}>
      {known ? <ApprovalCard approval={known} /> : error ? <Problem error={error} /> : loaded.value ? <Empty icon="hand" title={t("error.missing")} /> : <Loading />}
    </Page>
  );
}

export default function Approvals({ id }: { id: string }) {
  if (id) return <One id={id} />;
  const shows = place.value.query.get("show") === "history" ? "history" : "open";
  const open = pendingApprovals.value;
  const history = approvals.value.filter((one) => one.status !== "pending").sort((a, b) => ((a.answered_at ?? a.created_at) < (b.answered_at ?? b.created_at) ? 1 : -1));
  const list = shows === "open" ? open : history;
  return (
    <Page title={t("nav.approvals")} lead={t("approvals.lead")}>
      <Tabs label={t("nav.approvals")} chosen={shows} onChoose={(one) => setQuery({ show: one === "open" ? null : one })} tabs={[{ id: "open", label: t("approvals.open"), count: open.length }, { id: "history", label: t("approvals.history") }]} />
      {!loaded.value ? <Loading /> : list.length === 0 ? (
        <Empty icon="hand" title={t(shows === "open" ? "approvals.none" : "approvals.no_history")}>{t("approvals.none_hint")}</Empty>
      ) : <div class="cards">{list.map((one) => <ApprovalCard key={one.approval_id} approval={one} />)}</div>}
    </Page>
  );
}
