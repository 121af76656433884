/** The door: a field for the token, for those who came without the link. */

import { useState } from "preact/hooks";
import { ApiError, signIn } from "../api";
import { t } from "../i18n";
import { start } from "../store/live";
import { Button, Field, sentence } from "../ui/parts";
import { Mark } from "../ui/icon";
import { Preferences } from "../ui/preferences";

export function SignIn({ problem }: { problem: string | null }) {
  const [token, setToken] = useState("");
  const [error, setError] = useState(problem);
  const [busy, setBusy] = useState(false);
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    // Somebody may paste the whole link.
    const given = /[#?&]token=([^&\s]+)/.exec(token)?.[1] ?? token.trim();
    if (!given) return;
    setBusy(true);
    setError(null);
    try {
      await signIn(decodeURIComponent(given));
      setToken("");
      start();
    } catch (problem) {
      setError(problem instanceof ApiError && problem.status === 401 ? t("signin.wrong") : sentence(problem));
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
