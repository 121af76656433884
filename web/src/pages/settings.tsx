/** All settings, made from their schema; what is written here stands in config.toml. */

import { useState } from "preact/hooks";
import { ApiError, get, optional, patch } from "../api";
import { about, t, word } from "../i18n";
import { loaded, serverStatus } from "../store/live";
import { Icon } from "../ui/icon";
import { Button, Card, Chip, Empty, Loading, Page, Plain, Problem, sentence, tell, useLoad } from "../ui/parts";
import { Preferences } from "../ui/preferences";
import { resolve, SchemaForm, typeOf, type Schema } from "../ui/schema";

type Values = Record<string, unknown>;

/** The keys that differ, as dotted paths; a value taken away becomes null. */
export function changes(before: Values, after: Values, prefix: string): Values {
  const found: Values = {};
  for (const name of new Set([...Object.keys(before), ...Object.keys(after)])) {
    if (JSON.stringify(before[name]) !== JSON.stringify(after[name])) found[`${prefix}.${name}`] = after[name] ?? null;
  }
  return found;
}

/** Whether a table says anything else than its defaults. */
function isSet(value: unknown, usual: unknown): boolean {
  const text = JSON.stringify(value ?? {});
  return text !== "{}" && text !== JSON.stringify(usual ?? {});
}

function Section({ name, schema, root, values, onSaved }: { name: string; schema: Schema; root: Schema; values: Values; onSaved: (restart: boolean) => void }) {
  const [draft, setDraft] = useState(values);
  const [error, setError] = useState<string | null>(null);
  const changed = changes(values, draft, name);
  const dirty = Object.keys(changed).length > 0;
  const simple: Schema = { ...schema, $defs: root.$defs, properties: Object.fromEntries(Object.entries(schema.properties ?? {}).map(([key, value]) => [key, resolve(value, root)])) };
  return (
    <form class="stack settings-form" onSubmit={(event) => event.preventDefault()}>
      <SchemaForm schema={simple} values={draft} onChange={setDraft} />
      {error && <p class="field-error" role="alert">{error}</p>}
      <div class="row">
        <Button kind="primary" type="submit" disabled={!dirty} onClick={async () => {
          try {
            const answer = await patch<{ restart?: boolean }>("/v1/config", { set: changed });
            setError(null);
            tell(t("told.saved"), "good");
            onSaved(Boolean(answer?.restart));
          } catch (problem) {
            if (problem instanceof ApiError && problem.status < 500 && problem.status !== 401) setError(sentence(problem));
            else throw problem;
          }
        }}>{t("save")}</Button>
        {dirty && <Button kind="quiet" onClick={() => setDraft(values)}>{t("approval.discard")}</Button>}
      </div>
    </form>
  );
}

export default function Settings() {
  const [restart, setRestart] = useState(false);
  const { data, error, reload } = useLoad(async () => {
    const [config, schema] = await Promise.all([optional(get<{ values?: Values; text?: string }>("/v1/config"), null), optional(get<Schema>("/v1/config/schema"), null)]);
    return { config, schema };
  }, loaded.value);
  const root = data?.schema ?? {};
  const top = resolve(root, root);
  const values = data?.config?.values ?? {};
  const tables = Object.entries(top.properties ?? {}).map(([name, given]) => [name, resolve(given, root)] as const);
  const forms = tables.filter(([, schema]) => typeOf(schema) === "object" && schema.properties);
  const status = serverStatus.value;
  return (
    <Page title={t("nav.settings")} lead={t("settings.lead")}>
      {restart && <p class="notice need" role="status"><Icon name="alert" /><span>{t("settings.restart")} <code>tawny gateway restart</code></span></p>}
      <Card class="stack" title={t("settings.device")}><Preferences /></Card>
      {status.problems?.length ? <Card title={t("settings.problems")}><ul class="plain-list">{status.problems.map((one) => <li key={one.message}><span><Chip tone={one.severity === "error" ? "bad" : "need"}>{one.severity}</Chip> {one.message}</span>{one.hint && <span class="hint">{one.hint}</span>}</li>)}</ul></Card> : null}
      {error ? <Problem error={error} retry={reload} /> : !data ? <Loading /> : !data.schema ? (
        <Empty icon="settings" title={t("settings.none")}>{t("settings.none_hint")} <code>tawny config set KEY VALUE</code></Empty>
      ) : <div class="accordion">{forms.map(([name, schema]) => (
        <details key={name}><summary><span class="section-name">{word("section", name)}</span><span class="hint section-keys">{Object.keys(schema.properties ?? {}).slice(0, 4).map((key) => word("field", key)).join(", ")}</span>{isSet(values[name], top.properties?.[name]?.default) ? <Chip tone="good">{t("settings.set")}</Chip> : null}</summary>
          <p class="hint">{about(name, schema.description)}</p>
          <Section key={JSON.stringify(values[name] ?? {})} name={name} schema={schema} root={root} values={(values[name] as Values | undefined) ?? {}} onSaved={(again) => {
            setRestart(restart || again);
            void reload();
          }} /></details>
      ))}</div>}
      {data?.config?.text && <details class="card"><summary>config.toml</summary><p class="hint">{t("settings.text_hint")}</p><Plain block text={data.config.text} /></details>}
      <p class="hint">{[status.version && `Tawny ${status.version}`, status.model && t("settings.model", { name: String(status.model) }), status.timezone].filter(Boolean).join(" · ")}</p>
    </Page>
  );
}
