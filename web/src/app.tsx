/** The frame around every page: navigation, connection, messages. */

import type { ComponentType } from "preact";
import { effect, signal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { signedIn, signOut } from "./api";
import { t, word } from "./i18n";
import type { Key } from "./i18n/en";
import { relative } from "./format";
import { place } from "./router";
import { connection, loaded, lostAt, now, onEvent, reconnect, stop } from "./store/live";
import { pendingApprovals, unread } from "./store/lists";
import { board, titleOf } from "./store/tasks";
import { Board } from "./pages/board";
import ApprovalsPage from "./pages/approvals";
import AuditPage from "./pages/audit";
import AutomationsPage from "./pages/automations";
import CalendarPage from "./pages/calendar";
import ChannelsPage from "./pages/channels";
import ChatPage from "./pages/chat";
import DevicesPage from "./pages/devices";
import InboxPage from "./pages/inbox";
import KnowledgePage from "./pages/knowledge";
import MetricsPage from "./pages/metrics";
import SessionsPage from "./pages/sessions";
import SettingsPage from "./pages/settings";
import TaskPage from "./pages/task";
import { SignIn } from "./pages/signin";
import { Icon, Mark, type IconName } from "./ui/icon";
import { NewTask, newTask } from "./ui/newtask";
import { Button, Dialog, Empty, Page, Toasts } from "./ui/parts";
import { Preferences } from "./ui/preferences";

type PageOf = ComponentType<{ id: string; rest: string[] }>;

interface Route { name: string; label: Key; icon: IconName; group?: Key; page: PageOf }

const HomePage: PageOf = () => <Board />;

export const ROUTES: Route[] = [
  { name: "", label: "nav.board", icon: "board", page: HomePage },
  { name: "chat", label: "nav.chat", icon: "chat", page: ChatPage },
  { name: "approvals", label: "nav.approvals", icon: "hand", page: ApprovalsPage },
  { name: "inbox", label: "nav.inbox", icon: "bell", page: InboxPage },
  { name: "automations", label: "nav.automations", icon: "repeat", page: AutomationsPage },
  { name: "calendar", label: "nav.calendar", icon: "calendar", page: CalendarPage },
  { name: "metrics", label: "nav.metrics", icon: "chart", group: "nav.group.watch", page: MetricsPage },
  { name: "audit", label: "nav.audit", icon: "audit", group: "nav.group.watch", page: AuditPage },
  { name: "sessions", label: "nav.sessions", icon: "people", group: "nav.group.assistant", page: SessionsPage },
  { name: "knowledge", label: "nav.knowledge", icon: "book", group: "nav.group.assistant", page: KnowledgePage },
  { name: "channels", label: "nav.channels", icon: "send", group: "nav.group.setup", page: ChannelsPage },
  { name: "devices", label: "nav.devices", icon: "device", group: "nav.group.setup", page: DevicesPage },
  { name: "settings", label: "nav.settings", icon: "settings", group: "nav.group.setup", page: SettingsPage },
];
const HIDDEN: Route[] = [{ name: "tasks", label: "nav.board", icon: "board", page: TaskPage }];

const TABS = ["", "approvals", "chat", "automations"];

function NavLink({ route, current }: { route: Route; current: string }) {
  const chosen = route.name === current || (route.name === "" && current === "tasks");
  const count = route.name === "approvals" ? pendingApprovals.value.length : route.name === "inbox" ? unread.value.length : 0;
  return (
    <a class="nav-link" href={`#/${route.name === "chat" ? "chat/main" : route.name}`} aria-current={chosen ? "page" : undefined}>
      <Icon name={route.icon} /><span>{t(route.label)}</span>
      {count > 0 && <span class={`badge${route.name === "inbox" ? " calm" : ""}`}>{count > 99 ? "99+" : count}</span>}
    </a>
  );
}

function ConnectionDot() {
  return <span class={`connection c-${connection.value}`} role="status"><i aria-hidden="true" />{t(`live.${connection.value}`)}</span>;
}

function SignOut() {
  return <Button kind="quiet" small icon="out" onClick={async () => {
    stop();
    await signOut();
  }}>{t("nav.sign_out")}</Button>;
}

function Sidebar({ current }: { current: string }) {
  const groups = [undefined, ...new Set(ROUTES.map((route) => route.group).filter(Boolean))];
  return (
    <aside class="sidebar">
      <a class="brand" href="#/"><Mark /><span>Tawny</span></a>
      <nav aria-label={t("nav")}>
        {groups.map((group) => (
          <div class="nav-group" key={group ?? "first"}>
            {group && <h2>{t(group)}</h2>}
            {ROUTES.filter((route) => route.group === group).map((route) => <NavLink key={route.name} route={route} current={current} />)}
          </div>
        ))}
      </nav>
      <footer>
        <ConnectionDot />
        <Preferences />
        <SignOut />
      </footer>
    </aside>
  );
}

function TabBar({ current, onMore }: { current: string; onMore: () => void }) {
  const shown = ROUTES.filter((route) => TABS.includes(route.name)).sort((a, b) => TABS.indexOf(a.name) - TABS.indexOf(b.name));
  return (
    <nav class="tabbar" aria-label={t("nav")}>
      {shown.map((route) => <NavLink key={route.name} route={route} current={current} />)}
      <button type="button" class="nav-link" onClick={onMore} aria-current={!TABS.includes(current) && current !== "tasks" ? "page" : undefined}><Icon name="list" /><span>{t("nav.more")}</span>{unread.value.length > 0 && <span class="badge calm">{unread.value.length > 99 ? "99+" : unread.value.length}</span>}</button>
    </nav>
  );
}

function MoreSheet({ open, current, onClose }: { open: boolean; current: string; onClose: () => void }) {
  return (
    <Dialog title={t("nav.more")} open={open} onClose={onClose}>
      <nav class="more-sheet" aria-label={t("nav.more")} onClick={(event) => (event.target as Element).closest("a") && onClose()}>
        {ROUTES.filter((route) => !TABS.includes(route.name)).map((route) => <NavLink key={route.name} route={route} current={current} />)}
      </nav>
      <div class="more-foot"><ConnectionDot /><Preferences />
        <SignOut />
      </div>
    </Dialog>
  );
}

function OfflineBanner() {
  if (connection.value !== "offline") return null;
  const since = lostAt.value === null ? "" : relative(new Date(lostAt.value).toISOString(), now.value && Date.now());
  return (
    <div class="banner" role="alert">
      <Icon name="alert" size={18} />
      <span>{loaded.value ? t("live.banner", { time: since }) : t("live.banner_first")}</span>
      <Button small onClick={reconnect}>{t("live.retry")}</Button>
    </div>
  );
}

const announced = signal("");
/** One after the other: a name that must be asked for holds up what comes after it. */
let saying: Promise<void> = Promise.resolve();

/** Says aloud what matters and only that: an end, a failure, a question. */
function Announcer() {
  useEffect(() => onEvent(({ type, task_id, data }) => {
    const asks = type === "approval.requested";
    const failed = type === "task.failed" || type === "task.timed_out";
    if (!(asks || failed || type === "task.succeeded") || data.detached === false) return;
    const name = asks && data.tool ? word("tool", String(data.tool)) : task_id && titleOf(task_id);
    saying = saying.then(async () => {
      const title = (await name) || t("task");
      const said = asks ? t("announce.approval", { title }) : failed ? t("announce.failed", { title }) : t("announce.succeeded", { title });
      // The same words again are said again.
      announced.value = said === announced.value ? `${said}\u00a0` : said;
    });
  }), []);
  return <div class="visually-hidden" aria-live="polite" data-announcer>{announced.value}</div>;
}

effect(() => {
  const waiting = board.value.needs_you.length;
  const badge = navigator as Navigator & { setAppBadge?: (n: number) => Promise<void>; clearAppBadge?: () => Promise<void> };
  (waiting ? badge.setAppBadge?.(waiting) : badge.clearAppBadge?.())?.catch(() => {});
});

function useShortcuts() {
  useEffect(() => {
    let before = "";
    const press = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      if (event.ctrlKey || event.metaKey || event.altKey || target.closest("input, textarea, select, dialog")) return;
      if (event.key === "/") {
        const search = document.querySelector<HTMLInputElement>("input[type=search]");
        if (search) {
          event.preventDefault();
          search.focus();
        }
      } else if (event.key === "n") newTask();
      else if (before === "g") {
        const goal = { b: "", c: "chat/main", a: "approvals", u: "automations", m: "metrics", s: "settings" }[event.key];
        if (goal !== undefined) location.hash = `#/${goal}`;
      }
      before = event.key;
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
}

export function App({ problem }: { problem: string | null }) {
  const [more, setMore] = useState(false);
  const [name = "", id = "", ...rest] = place.value.path;
  const main = useRef<HTMLElement>(null);
  const first = useRef(true);
  useShortcuts();
  useEffect(() => {
    if (first.current) {
      first.current = false;
      return;
    }
    scrollTo(0, 0);
  }, [name, id]);
  if (signedIn.value === false) return <><SignIn problem={problem} /><Toasts /></>;
  const route = [...ROUTES, ...HIDDEN].find((one) => one.name === name);
  const Chosen = route?.page;
  return (
    <div class="app">
      <a class="skip" href="#main" onClick={(event) => {
        event.preventDefault();
        main.current?.querySelector<HTMLElement>("h1")?.focus();
      }}>{t("skip")}</a>
      <Sidebar current={name} />
      <div class="content">
        <OfflineBanner />
        <main id="main" ref={main} data-page={name || "board"}>
          {Chosen ? <Chosen key={`${name}/${id}`} id={id} rest={rest} /> : <Page title="404"><Empty icon="search" title={t("error.missing")} action={<a class="button plain" href="#/">{t("nav.board")}</a>} /></Page>}
        </main>
      </div>
      <TabBar current={name} onMore={() => setMore(true)} />
      <MoreSheet open={more} current={name} onClose={() => setMore(false)} />
      <NewTask />
      <Announcer />
      <Toasts />
    </div>
  );
}
