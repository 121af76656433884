/** What the assistant remembers, and what it has learnt to do. */

import { useEffect, useState } from "preact/hooks";
import { list } from "../api";
import { t } from "../i18n";
import { place, setQuery } from "../router";
import { loaded } from "../store/live";

import { Icon } from "../ui/icon";
import { Markdown } from "../ui/markdown";
import { Chip, Empty, Loading, Page, Problem, Tabs, useLoad } from "../ui/parts";

interface Note { file: string; line: number; text: string }
interface Skill { name: string; description: string; path: string; enabled: boolean; reason: string }

function Memory() {
  const text = place.value.query.get("q") ?? "";
  const [asked, setAsked] = useState(text);
  useEffect(() => {
    const timer = setTimeout(() => setAsked(text), 200);
    return () => clearTimeout(timer);
  }, [text]);
  const { data, error, reload } = useLoad(() => list<Note>("/v1/memory", { q: asked, limit: 100 }), `${asked}:${loaded.value}`);
  return (
    <>
      <div class="filters" role="search"><label class="search"><Icon name="search" size={16} /><span class="visually-hidden">{t("memory.search")}</span><input type="search" value={text} placeholder={t("memory.search")} onInput={(event) => setQuery({ q: event.currentTarget.value })} /></label></div>
      {error ? <Problem error={error} retry={reload} /> : !data ? <Loading /> : !data.length ? (
        asked ? <p class="hint">{t("memory.not_found")}</p> : <Empty icon="book" title={t("memory.none")}>{t("memory.none_hint")}</Empty>
      ) : (
        <ul class="list">{data.map((one, place) => (
          <li key={place}><div class="grow"><Markdown text={one.text.replace(/^\s*- /, "")} /><span class="hint mono">{one.file}:{one.line}</span></div></li>
        ))}</ul>
      )}
    </>
  );
}

function Skills() {
  const { data, error, reload } = useLoad(() => list<Skill>("/v1/skills"), loaded.value);
  if (error) return <Problem error={error} retry={reload} />;
  if (!data) return <Loading />;
  if (!data.length) return <Empty icon="spark" title={t("skills.none")}>{t("skills.none_hint")} <code>workspace/skills/NAME/SKILL.md</code></Empty>;
  return (
    <ul class="list">{data.map((one) => (
      <li key={one.name}><span class="automation-icon"><Icon name="spark" /></span>
        <div class="grow"><span class="title">{one.name}</span><span>{one.description}</span><span class="hint mono">{one.path}</span>{one.reason && <span class="field-error">{one.reason}</span>}</div>
        {!one.enabled && <Chip>{t("status.disabled")}</Chip>}</li>
    ))}</ul>
  );
}

export default function Knowledge({ id }: { id: string }) {
  const shows = id === "skills" ? "skills" : "memory";
  return (
    <Page title={t("nav.knowledge")} lead={t("knowledge.lead")}>
      <Tabs label={t("nav.knowledge")} chosen={shows} onChoose={(one) => {
        location.hash = `#/knowledge/${one}`;
      }} tabs={[{ id: "memory", label: t("memory") }, { id: "skills", label: t("skills") }]} />
      {shows === "memory" ? <Memory /> : <Skills />}
    </Page>
  );
}
