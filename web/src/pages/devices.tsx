/** Who may come in: devices, pairing by QR code, tokens for programs, notifications on this one. */

import { useEffect, useState } from "preact/hooks";
import { del, get, list, optional, post } from "../api";
import { t, word } from "../i18n";
import { duration } from "../format";
import { loaded, now } from "../store/live";
import { deviceName, installPrompt } from "../store/device";
import { pushState, switchOff, switchOn, type PushState } from "../store/push";
import type { Page as PageOf } from "../types";
import { Icon } from "../ui/icon";
import { TextField } from "../ui/fields";
import { Button, Card, Chip, complain, Dialog, Loading, Page, Problem, tell, useLoad, When } from "../ui/parts";

interface Device { device_id: string; name: string; kind?: string; role?: string; scopes?: string[]; created_at?: string; last_seen?: string | null; current?: boolean; revoked?: boolean }
interface Token { token_id?: string; id?: string; name: string; scopes?: string[]; created_at?: string; last_used?: string | null }
interface Pairing { code: string; url: string; qr: string; expires_at: string }

const SCOPES = ["read", "write", "approvals", "admin", "pairing"] as const;

function ScopeChoice({ chosen, onChange }: { chosen: string[]; onChange: (scopes: string[]) => void }) {
  return (
    <fieldset class="scopes"><legend class="legend">{t("devices.may")}</legend>
      {SCOPES.map((one) => <label class="check"><input type="checkbox" checked={chosen.includes(one)} onChange={(event) => onChange(event.currentTarget.checked ? [...chosen, one] : chosen.filter((other) => other !== one))} /> {t(`scope.${one}`)}</label>)}
    </fieldset>
  );
}

function PairDialog({ open, onClose }: { open: boolean; onClose: () => void }) {
  const [scopes, setScopes] = useState<string[]>(["read", "write", "approvals"]);
  const [pairing, setPairing] = useState<Pairing | null>(null);
  useEffect(() => {
    if (!open) setPairing(null);
  }, [open]);
  const left = pairing ? (Date.parse(pairing.expires_at) - now.value) / 1000 : 0;
  const local = /^(localhost|127\.|\[::1\])/.test(location.hostname);
  return (
    <Dialog title={t("devices.pair")} open={open} onClose={onClose}>
      {!pairing ? (
        <div class="stack">
          <ScopeChoice chosen={scopes} onChange={setScopes} />
          <div class="row end"><Button kind="primary" onClick={async () => setPairing(await post<Pairing>("/v1/pairing", { scopes }))}>{t("devices.make_code")}</Button></div>
        </div>
      ) : (
        <div class="stack pairing">
          <img class="qr" alt={t("devices.qr")} width={220} height={220} src={pairing.qr} />
          <p>{t("devices.scan")}</p>
          <p class="pair-code mono">{pairing.code}</p>
          <p class="hint" role="timer">{left > 0 ? t("approval.expires", { time: duration(Math.round(left)) }) : t("devices.code_over")}</p>
          {local && <p class="notice need"><Icon name="alert" /><span>{t("devices.local")}</span></p>}
        </div>
      )}
    </Dialog>
  );
}

function Notifications() {
  const [state, setState] = useState<PushState | null>(null);
  useEffect(() => {
    pushState().then(setState, () => setState("unsupported"));
  }, []);
  const prompt = installPrompt.value;
  return (
    <Card class="stack" title={t("push")}>
      <p>{t("push.lead")}</p>
      {state === "on" ? (
        <div class="row"><Chip tone="good">{t("push.on")}</Chip>
          <Button small onClick={async () => {
            await post("/v1/push/test");
            tell(t("push.tested"), "good");
          }}>{t("push.test")}</Button>
          <Button small kind="quiet" onClick={async () => setState(await switchOff())}>{t("push.switch_off")}</Button></div>
      ) : state === "off" ? (
        <div class="row"><Button kind="primary" icon="bell" onClick={async () => setState(await switchOn(deviceName()).catch((error) => {
          complain(error);
          return "off" as const;
        }))}>{t("push.switch_on")}</Button></div>
      ) : state && <p class="notice need"><Icon name="bell" /><span>{t(`push.no.${state}`)}</span></p>}
      {prompt && <div class="row"><Button icon="download" onClick={() => prompt.prompt()}>{t("push.install")}</Button><span class="hint">{t("push.install_hint")}</span></div>}
    </Card>
  );
}

function Tokens() {
  const { data, reload } = useLoad(() => optional(get<PageOf<Token>>("/v1/tokens"), null), loaded.value);
  const [open, setOpen] = useState(false);
  const [name, setName] = useState("");
  const [scopes, setScopes] = useState<string[]>(["read"]);
  const [made, setMade] = useState<string | null>(null);
  if (!data) return null;
  return (
    <section class="stack">
      <div class="row"><h2 class="section">{t("tokens")}</h2><span class="push"><Button small icon="plus" onClick={() => {
        setMade(null);
        setOpen(true);
      }}>{t("tokens.new")}</Button></span></div>
      <p class="hint">{t("tokens.lead")}</p>
      {data.items.length > 0 && <ul class="list">{data.items.map((one) => {
        const id = one.token_id ?? one.id ?? one.name;
        return <li key={id}><div class="grow"><span class="title">{one.name}</span><span class="hint">{one.scopes?.map((scope) => word("scope", scope)).join(" · ")}</span></div><span class="hint"><When time={one.last_used ?? one.created_at} /></span>
          <Button small kind="quiet" icon="trash" label={`${t("devices.revoke")}: ${one.name}`} onClick={async () => {
            await del(`/v1/tokens/${encodeURIComponent(id)}`);
            await reload();
          }} /></li>;
      })}</ul>}
      <Dialog title={t("tokens.new")} open={open} onClose={() => {
        setOpen(false);
        setMade(null);
      }}>
        {made ? <div class="stack"><p>{t("tokens.once")}</p><pre class="plain" tabIndex={0}>{made}</pre><div class="row end"><Button icon="copy" onClick={() => navigator.clipboard.writeText(made).then(() => tell(t("told.copied")))}>{t("copy")}</Button></div></div> : (
          <form class="stack" onSubmit={(event) => event.preventDefault()}>
            <TextField label={t("form.name")} required value={name} onText={setName} />
            <ScopeChoice chosen={scopes} onChange={setScopes} />
            <div class="row end"><Button kind="primary" type="submit" disabled={!name} onClick={async () => {
              setMade((await post<{ token: string }>("/v1/tokens", { name, scopes })).token);
              setName("");
              await reload();
            }}>{t("tokens.new")}</Button></div>
          </form>
        )}
      </Dialog>
    </section>
  );
}

export default function Devices() {
  const { data, error, reload } = useLoad(() => list<Device>("/v1/devices"), loaded.value);
  const [pairing, setPairing] = useState(false);
  const devices = (data ?? []).filter((one) => !one.revoked);
  return (
    <Page title={t("nav.devices")} lead={t("devices.lead")} actions={<Button kind="primary" icon="plus" onClick={() => setPairing(true)}>{t("devices.pair")}</Button>}>
      {error ? <Problem error={error} retry={reload} /> : !data ? <Loading /> : devices.length > 0 && (
        <ul class="list">{devices.map((one) => (
          <li key={one.device_id} data-device={one.device_id} class="automation-row">
            <span class="automation-icon"><Icon name="device" /></span>
            <div class="grow"><span class="row"><span class="title">{one.name}</span>{one.current && <Chip tone="good">{t("devices.this")}</Chip>}</span><span class="hint">{one.scopes?.map((scope) => word("scope", scope)).join(" · ") || one.role}</span></div>
            <span class="hint automation-next"><When time={one.last_seen ?? one.created_at} /></span>
            {!one.current && <Button small kind="quiet" icon="trash" label={`${t("devices.revoke")}: ${one.name}`} onClick={async () => {
              await del(`/v1/devices/${encodeURIComponent(one.device_id)}`);
              tell(t("devices.revoked", { name: one.name }));
              await reload();
            }} />}
          </li>
        ))}</ul>
      )}
      <Notifications />
      <Tokens />
      <PairDialog open={pairing} onClose={() => {
        setPairing(false);
        void reload();
      }} />
    </Page>
  );
}
