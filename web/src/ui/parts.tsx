/** The small parts every page is made of. */

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { signal } from "@preact/signals";
import { ApiError } from "../api";
import { t, word } from "../i18n";
import { fullTime, moment, relative, revealed } from "../format";
import { arrival } from "../router";
import { now } from "../store/live";
import { useId } from "./fields";
import { Icon, type IconName } from "./icon";

interface ButtonProps {
  children?: ComponentChildren;
  icon?: IconName;
  kind?: "primary" | "plain" | "quiet" | "danger";
  small?: boolean;
  label?: string;
  action?: string;
  disabled?: boolean;
  pressed?: boolean;
  type?: "button" | "submit";
  onClick?: (event: MouseEvent) => unknown;
}

/** A button; while its work is under way it is busy and cannot be pressed again. It keeps the focus; where it goes with its work, its task's row takes it. */
export function Button({ children, icon, kind = "plain", small, label, action, disabled, pressed, type = "button", onClick }: ButtonProps) {
  const [busy, setBusy] = useState(false);
  const working = useRef(false);
  const alive = useRef(true);
  useEffect(() => () => {
    alive.current = false;
  }, []);
  const press = async (event: MouseEvent) => {
    if (working.current || !onClick) return;
    const task = (event.currentTarget as Element).closest("[data-task]")?.getAttribute("data-task");
    const outcome = onClick(event);
    if (!(outcome instanceof Promise)) return;
    working.current = true;
    setBusy(true);
    try {
      await outcome;
    } catch (error) {
      complain(error);
    } finally {
      working.current = false;
      if (alive.current) setBusy(false);
      else if (document.activeElement === document.body) {
        // A row may have moved to another column.
        const next = task && document.querySelector<HTMLElement>(`[data-task="${task}"] :is(button, a)`);
        (next || document.querySelector<HTMLElement>("main h1"))?.focus({ preventScroll: true });
      }
    }
  };
  const only = !children;
  return (
    <button type={type} class={`button ${kind}${small ? " small" : ""}${only ? " only" : ""}`} data-action={action} disabled={disabled} aria-busy={busy || undefined}
      aria-label={only ? label : undefined} title={label} aria-pressed={pressed} onClick={onClick ? press : undefined}>
      {icon && <Icon name={icon} size={small ? 16 : 18} />}
      {children && <span>{children}</span>}
    </button>
  );
}

export function Chip({ tone, children, title }: { tone?: string; children: ComponentChildren; title?: string }) {
  return <span class={`chip ${tone ?? ""}`} title={title}>{children}</span>;
}

export function StatusChip({ status, group = "status" }: { status: string; group?: string }) {
  return <span class={`chip status s-${status}`}><i class="dot" aria-hidden="true" />{word(group, status)}</span>;
}

/** A bar that tells its value to assistive technology too; without a value it only says that something moves. */
export function Bar({ value, label, status, text }: { value: number | null; label: string; status?: string; text?: string }) {
  const shown = value === null ? null : Math.max(0, Math.min(100, Math.round(value)));
  return (
    <div class={`bar ${status ? `s-${status}` : ""}${shown === null ? " unknown" : ""}`} role="progressbar" aria-label={label} aria-valuemin={0} aria-valuemax={100}
      aria-valuenow={shown ?? undefined} aria-valuetext={text || (shown === null ? t("progress.unknown") : `${shown}%`)}>
      <i style={{ "--value": shown === null ? "0.35" : String(shown / 100) }} />
    </div>
  );
}

/** A time, told as distance or as date, with the whole of it on hover. */
export function When({ time, as = "relative" }: { time: string | null | undefined; as?: "relative" | "moment" }) {
  if (!time) return null;
  return <time dateTime={time} title={fullTime(time)}>{as === "relative" ? relative(time, now.value) : moment(time, now.value)}</time>;
}

/** Text shown as it is: characters that hide or reorder text appear by name. */
export function Plain({ text, block }: { text: string; block?: boolean }) {
  const pieces = revealed(text).map((piece) => (piece.hidden ? <mark class="hidden-character" title={t("text.hidden")}>{piece.text}</mark> : piece.text));
  return block ? <pre class="plain" tabIndex={0}>{pieces}</pre> : <span class="plain">{pieces}</span>;
}

export function asText(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value, null, 2) ?? "";
}

interface EmptyProps { icon: IconName; title: string; children?: ComponentChildren; action?: ComponentChildren }

/** What stands where nothing is yet: what would be here, and how to get it here. */
export function Empty({ icon, title, children, action }: EmptyProps) {
  return (
    <div class="empty">
      <span class="empty-icon"><Icon name={icon} size={26} /></span>
      <h2>{title}</h2>
      {children && <p>{children}</p>}
      {action && <div class="row">{action}</div>}
    </div>
  );
}

export function Loading() {
  return <div class="loading" role="status"><span class="visually-hidden">{t("loading")}</span><i /><i /><i /></div>;
}

interface PageProps { title: string; lead?: ComponentChildren; actions?: ComponentChildren; back?: { href: string; label: string }; wide?: boolean; children: ComponentChildren }

/** A page's frame; the heading takes the focus when one comes from another page, so that readers hear where they are. */
export function Page({ title, lead, actions, back, wide, children }: PageProps) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${title} · Tawny`;
  }, [title]);
  useEffect(() => {
    if (arrival.pending) heading.current?.focus({ preventScroll: true });
    arrival.pending = false;
  }, []);
  return (
    <div class={`page${wide ? " wide" : ""}`}>
      {back && <a class="back" href={back.href}><Icon name="left" size={16} />{back.label}</a>}
      <header class="page-head">
        <div class="page-title">
          <h1 dir="auto" tabIndex={-1} ref={heading}>{title}</h1>
          {lead && <p class="lead">{lead}</p>}
        </div>
        {actions && <div class="row page-actions">{actions}</div>}
      </header>
      {children}
    </div>
  );
}

interface DialogProps { title: string; open: boolean; onClose: () => void; children: ComponentChildren; wide?: boolean }

export function Dialog({ title, open, onClose, children, wide }: DialogProps) {
  const element = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const dialog = element.current;
    if (!dialog) return;
    if (open && !dialog.open) {
      dialog.showModal();
      // Into the form at once: the button that closes it comes first only on the page.
      dialog.querySelector<HTMLElement>("form :is(select, input, textarea)")?.focus();
    }
    if (!open && dialog.open) dialog.close();
  }, [open]);
  return (
    <dialog ref={element} class={wide ? "wide" : ""} aria-labelledby={id} onClose={onClose} onClick={(event) => event.target === element.current && element.current?.close()}>
      {open && (
        <div class="dialog">
          <header>
            <h2 id={id}>{title}</h2>
            <Button icon="close" kind="quiet" label={t("close")} onClick={() => element.current?.close()} />
          </header>
          {children}
        </div>
      )}
    </dialog>
  );
}

/** A part of a page under a heading of its own; `end` stands beside the heading. */
export function Card({ title, end, children, class: more = "" }: { title: ComponentChildren; end?: ComponentChildren; children: ComponentChildren; class?: string }) {
  const id = useId();
  const heading = <h2 id={id}>{title}</h2>;
  return <section class={`card ${more}`} aria-labelledby={id}>{end ? <div class="row">{heading}{end}</div> : heading}{children}</section>;
}

/** A name and what stands for it, in a list of facts. */
export function Fact({ name, children }: { name: ComponentChildren; children: ComponentChildren }) {
  return <div><dt>{name}</dt><dd>{children}</dd></div>;
}

interface TabsProps { tabs: { id: string; label: string; count?: number }[]; chosen: string; onChoose: (id: string) => void; label: string }

/** A row of choices of which one is shown. */
export function Tabs({ tabs, chosen, onChoose, label }: TabsProps) {
  return (
    <div class="tabs" role="group" aria-label={label}>
      {tabs.map((tab) => (
        <button type="button" key={tab.id} aria-pressed={tab.id === chosen} onClick={() => onChoose(tab.id)}>
          {tab.label}{tab.count ? <span class="count">{tab.count}</span> : null}
        </button>
      ))}
    </div>
  );
}

export interface Toast { id: number; text: string; tone: "good" | "bad" | "plain"; action?: { label: string; run: () => unknown } }
export const toasts = signal<Toast[]>([]);
let lastToast = 0;

export function tell(text: string, tone: Toast["tone"] = "plain", action?: Toast["action"]): void {
  const toast = { id: ++lastToast, text, tone, action };
  toasts.value = [...toasts.value.slice(-2), toast];
  fade(toast.id, tone === "bad" || action ? 10_000 : 6000);
}

/** Take it away after a while; not while somebody has it under the pointer or goes through it by keyboard. */
function fade(id: number, after: number): void {
  setTimeout(() => {
    if (document.querySelector(`[data-toast="${id}"]:is(:hover, :focus-within)`)) fade(id, 1000);
    else dismiss(id);
  }, after);
}

export function dismiss(id: number): void {
  toasts.value = toasts.value.filter((toast) => toast.id !== id);
}

/** An error as a sentence: what went wrong and, where the server knows one, the mend. */
export function sentence(error: unknown): string {
  if (error instanceof ApiError) {
    if (error.status === 0) return t("error.offline");
    if (error.isMissing && error.code === "404") return t("error.missing");
    return error.hint ? `${error.message} – ${error.hint}` : error.message;
  }
  return error instanceof Error ? error.message : String(error);
}

export function complain(error: unknown): void {
  if (error instanceof ApiError && error.status === 401) return;
  tell(sentence(error), "bad");
}

export function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {toasts.value.map((toast) => (
        <div class={`toast ${toast.tone}`} key={toast.id} data-toast={toast.id}>
          <span>{toast.text}</span>
          {toast.action && <button type="button" class="link" onClick={() => {
            dismiss(toast.id);
            Promise.resolve(toast.action?.run()).catch(complain);
          }}>{toast.action.label}</button>}
          <button type="button" class="toast-close" aria-label={t("close")} onClick={() => dismiss(toast.id)}><Icon name="close" size={14} /></button>
        </div>
      ))}
    </div>
  );
}

/** Read something when the page opens and whenever `key` changes; keeps what was there while it reads anew. */
export function useLoad<T>(load: () => Promise<T>, key: unknown): { data: T | null; error: unknown; reload: () => Promise<void> } {
  const [state, setState] = useState<{ data: T | null; error: unknown; key: unknown }>({ data: null, error: null, key });
  const asked = useRef(0);
  const taken = useRef(0);
  const latest = useRef(load);
  latest.current = load;
  const reload = async () => {
    const mine = ++asked.current;
    // An answer counts though the next one is under way already: on a slow line there is always a next one.
    const take = (change: (before: typeof state) => typeof state) => {
      if (mine < taken.current) return;
      taken.current = mine;
      setState(change);
    };
    try {
      const data = await latest.current();
      take(() => ({ data, error: null, key }));
    } catch (error) {
      take((before) => ({ ...before, error }));
    }
  };
  useEffect(() => {
    void reload();
    return () => {
      taken.current = asked.current + 1;
    };
  }, [key]);
  return { data: state.data, error: state.error, reload };
}

export function Problem({ error, retry }: { error: unknown; retry?: () => unknown }) {
  if (error instanceof ApiError && error.status === 401) return null;
  return (
    <div class="notice bad" role="alert">
      <Icon name="alert" /><span>{sentence(error)}</span>
      {retry && <Button small onClick={retry}>{t("try_again")}</Button>}
    </div>
  );
}
