/** The door: a field for the token, for those who came without the link. */

import { useState } from "preact/hooks";
import { ApiError, post, signedIn, signIn } from "../api";
import { t } from "../i18n";
import { deviceName } from "../store/device";
import { start } from "../store/live";
import { Field } from "../ui/fields";
import { Button, sentence } from "../ui/parts";
import { Mark } from "../ui/icon";
import { Preferences } from "../ui/preferences";

const CODE = 20;

export function SignIn({ problem }: { problem: string | null }) {
  const [token, setToken] = useState("");
  const [error, setError] = useState(problem);
  const [busy, setBusy] = useState(false);
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    // Somebody may paste the whole link.
    const given = /[#?&](?:token|pair)=([^&\s]+)/.exec(token)?.[1] ?? token.trim();
    if (!given) return;
    setBusy(true);
    setError(null);
    try {
      // A pairing code is short enough to be typed; a token never is.
      if (given.length <= CODE) {
        await post("/v1/pairing/claim", { code: given, name: deviceName() });
        signedIn.value = true;
      } else await signIn(decodeURIComponent(given));
      setToken("");
      start();
    } catch (problem) {
      setError(problem instanceof ApiError && problem.status >= 400 && problem.status < 500 && problem.status !== 429 ? t(given.length <= CODE ? "signin.pair_failed" : "signin.wrong") : sentence(problem));
    } finally {
      setBusy(false);
    }
  };
  return (
    <main class="signin">
      <form class="signin-card" onSubmit={submit} autocomplete="off">
        <Mark size={48} />
        <h1>{t("signin.title")}</h1>
        <p class="lead">{t("signin.lead")}</p>
        <Field label={t("signin.token")} error={error}>
          {(id) => <input id={id} name="token" type="password" autocomplete="off" autofocus spellcheck={false} value={token} onInput={(event) => setToken(event.currentTarget.value)} />}
        </Field>
        <Button kind="primary" type="submit" disabled={busy || !token}>{t("signin.go")}</Button>
        <details>
          <summary>{t("signin.where")}</summary>
          <ol>
            <li>{t("signin.where_1")} <code>tawny gateway run</code></li>
            <li>{t("signin.where_2")} <code>panel http://…/#token=…</code></li>
            <li>{t("signin.where_3")}</li>
          </ol>
        </details>
      </form>
      <Preferences />
    </main>
  );
}
