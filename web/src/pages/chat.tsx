/** Talk to the assistant; what it starts in the background moves along inside the conversation. */

import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { list } from "../api";
import { t } from "../i18n";
import { clock, longDay } from "../format";
import { to } from "../router";
import { Conversation, type Message } from "../store/chat";
import { loaded, now, onEvent, onSnapshot } from "../store/live";
import { pendingApprovals } from "../store/lists";
import { refresh, taskSignal } from "../store/tasks";

import { ApprovalCard } from "../ui/approval";
import { Icon, Mark } from "../ui/icon";
import { Markdown } from "../ui/markdown";
import { asText, Button, complain, Empty, Loading, Plain, useLoad, When } from "../ui/parts";
import { remembered, store } from "../ui/preferences";
import { TaskRow } from "../ui/task";

interface Session { key: string; title?: string; channel?: string | null; updated_at?: string; messages?: number }

function TaskCard({ id }: { id: string }) {
  const task = taskSignal(id);
  useEffect(() => {
    if (!taskSignal(id)) refresh(id);
  }, [id]);
  return task ? <TaskRow task={task} as="article" /> : null;
}

/** Tool calls in a row, as one line that opens. */
function Tools({ messages }: { messages: Message[] }) {
  const counts = new Map<string, number>();
  for (const one of messages) counts.set(one.tool?.name ?? "?", (counts.get(one.tool?.name ?? "?") ?? 0) + 1);
  return (
    <details class="tools">
      <summary><Icon name="tool" size={14} /> {[...counts].map(([name, n]) => (n > 1 ? `${name} ×${n}` : name)).join(" · ")}</summary>
      {messages.map((one) => <div key={one.message_id}><p class="mono hint">{one.tool?.name} {one.tool?.arguments ? asText(one.tool.arguments) : ""}</p><Plain block text={asText(one.tool?.result ?? one.text)} /></div>)}
    </details>
  );
}

/** What was said in words: a mere call of a tool stands among the tools. */
const saidIn = (message: Message): string => (message.role === "assistant" ? message.text.replace(/(^|\n)\(uses [\w.-]+\)(?=\n|$)/g, "") : message.text);

function Bubble({ message, tasks }: { message: Message; tasks: string[] }) {
  const mine = message.role === "user";
  return (
    <div class={`bubble ${message.role}`}>
      {!mine && <Mark size={26} />}
      <div class="bubble-body">
        {mine ? <p class="said" dir="auto"><Plain text={message.text} /></p> : message.role === "system" ? <p class="hint">{message.text}</p> : <Markdown text={saidIn(message)} />}
        {tasks.map((id) => <TaskCard key={id} id={id} />)}
        <p class="bubble-time">{message.failed ? <span class="field-error">{t("chat.not_sent")}</span> : message.sending ? t("chat.sending") : clock(message.time)}</p>
      </div>
    </div>
  );
}

/** Messages with tool calls gathered, and a line where a new day begins. */
function Talk({ messages }: { messages: Message[] }) {
  const out = [];
  // A task is one card, where it was first spoken of: a later word about it does not draw it again.
  const shown = new Set<string>();
  let lastDay = "";
  for (let n = 0; n < messages.length; n += 1) {
    const one = messages[n]!;
    const date = new Date(one.time);
    if (date.toDateString() !== lastDay) {
      lastDay = date.toDateString();
      if (lastDay !== new Date(now.peek()).toDateString() || n > 0) out.push(<p class="day-line" key={`day-${lastDay}`}>{longDay(date)}</p>);
    }
    if (one.role === "tool") {
      let end = n;
      while (messages[end + 1]?.role === "tool") end += 1;
      out.push(<Tools key={one.message_id} messages={messages.slice(n, end + 1)} />);
      n = end;
    } else if (saidIn(one) || one.task_ids?.length) {
      const named = one.role === "assistant" ? [...new Set([...(one.task_ids ?? []), ...(one.text.match(/\btask_[0-9a-z]{20,}\b/g) ?? [])])] : [];
      const fresh = named.filter((id) => !shown.has(id));
      fresh.forEach((id) => shown.add(id));
      out.push(<Bubble key={one.message_id} message={one} tasks={fresh} />);
    }
  }
  return <>{out}</>;
}

function Sessions({ current }: { current: string }) {
  const { data, reload } = useLoad(() => list<Session>("/v1/sessions", { limit: 100 }), loaded.value);
  useEffect(() => onEvent((event) => {
    if (event.type === "message.received" && !data?.some((one) => one.key === (event.data.session ?? event.session))) void reload();
  }), [data]);
  const known = data ?? [];
  const all = known.some((one) => one.key === current) ? known : [{ key: current }, ...known];
  const fresh = () => `chat-${new Date(now.peek()).toISOString().slice(0, 16).replace(/[-:T]/g, "")}`;
  return (
    <aside class="chat-sessions" aria-label={t("nav.sessions")}>
      <div class="row"><h2>{t("chat.conversations")}</h2><a class="button quiet small only push" href={to(`chat/${fresh()}`)} title={t("chat.new")} aria-label={t("chat.new")}><Icon name="plus" size={16} /></a></div>
      <ul>
        {all.map((one) => (
          <li key={one.key}><a href={to(`chat/${one.key}`)} aria-current={one.key === current ? "page" : undefined}>
            <span>{one.title || (one.key === "main" ? t("chat.main") : one.key)}</span><span class="hint"><When time={one.updated_at} /></span>
          </a></li>
        ))}
      </ul>
    </aside>
  );
}

function Composer({ conversation }: { conversation: Conversation }) {
  const draftKey = `draft.${conversation.key}`;
  const [text, setText] = useState(remembered(draftKey) ?? "");
  const field = useRef<HTMLTextAreaElement>(null);
  const change = (next: string) => {
    setText(next);
    store(draftKey, next);
  };
  const send = async () => {
    const said = text.trim();
    if (!said) return;
    change("");
    try {
      await conversation.say(said);
    } catch (error) {
      change(said);
      complain(error);
    }
    field.current?.focus();
  };
  return (
    <form class="composer" onSubmit={(event) => {
      event.preventDefault();
      void send();
    }}>
      <label class="visually-hidden" for="say">{t("chat.say")}</label>
      <textarea id="say" ref={field} rows={Math.min(8, Math.max(1, text.split("\n").length))} value={text} placeholder={t("chat.say")} enterkeyhint="send"
        onInput={(event) => change(event.currentTarget.value)}
        onKeyDown={(event) => {
          // While a Chinese or Japanese input method composes, Enter belongs to it.
          if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
            event.preventDefault();
            void send();
          }
        }} />
      <Button kind="primary" type="submit" icon="send" label={t("chat.send")} disabled={!text.trim()} />
    </form>
  );
}

const IDEAS = ["1", "2", "3"] as const;

function Room({ session }: { session: string }) {
  const conversation = useMemo(() => new Conversation(session), [session]);
  const end = useRef<HTMLDivElement>(null);
  const near = useRef(true);
  useEffect(() => {
    document.title = `${t("nav.chat")} · Tawny`;
    const load = () => conversation.load();
    const stops = [onEvent((event) => conversation.hear(event)), onSnapshot(load)];
    load().catch(complain);
    const watch = () => {
      near.current = innerHeight + scrollY > document.documentElement.scrollHeight - 160;
    };
    addEventListener("scroll", watch, { passive: true });
    return () => {
      stops.forEach((stop) => stop());
      removeEventListener("scroll", watch);
    };
  }, [conversation]);
  const messages = conversation.messages.value;
  const streaming = Object.entries(conversation.streaming.value).filter(([, text]) => text);
  const thinking = conversation.pending.value.filter((run) => !conversation.streaming.value[run]);
  const asked = pendingApprovals.value.filter((one) => {
    const task = one.task_id ? taskSignal(one.task_id)?.value : undefined;
    return (one as { session?: string }).session === session || (task ? task.session === session : false) || messages.some((message) => message.run_id && message.run_id === one.task_id);
  });
  const length = streaming.reduce((sum, [, text]) => sum + text.length, 0);
  useLayoutEffect(() => {
    if (near.current) scrollTo(0, document.documentElement.scrollHeight);
  }, [messages.length, length, conversation.loaded.value, asked.length]);
  return (
    <div class="chat-room">
      <div class="talk">
        {!conversation.loaded.value ? <Loading /> : messages.length === 0 && (
          <Empty icon="chat" title={t("chat.none")} action={IDEAS.map((key) => <Button key={key} onClick={() => conversation.say(t(`chat.idea.${key}`))}>{t(`chat.idea.${key}`)}</Button>)}>{t("chat.none_hint")}</Empty>
        )}
        <Talk messages={messages} />
        <div aria-live="polite" aria-atomic="false" class="talk">
          {streaming.map(([run, text]) => <div class="bubble assistant" key={run}><Mark size={26} /><div class="bubble-body streaming"><Markdown text={text} /></div></div>)}
          {thinking.map((run) => <div class="bubble assistant" key={run}><Mark size={26} /><p class="thinking"><span class="visually-hidden">{t("chat.thinking")}</span><i /><i /><i /></p></div>)}
        </div>
        {asked.map((approval) => <ApprovalCard key={approval.approval_id} approval={approval} brief />)}
        <div ref={end} />
      </div>
      <Composer key={session} conversation={conversation} />
    </div>
  );
}

export default function Chat({ id }: { id: string }) {
  const session = id || "main";
  return (
    <div class="chat">
      <h1 class="visually-hidden" tabIndex={-1}>{t("nav.chat")}: {session}</h1>
      <Sessions current={session} />
      <Room key={session} session={session} />
    </div>
  );
}
