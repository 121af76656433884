import { render } from "preact";
import { ApiError, post, signedIn, signIn } from "./api";
import { App } from "./app";
import { t } from "./i18n";
import { takeSecret } from "./router";
import { connectLists } from "./store/lists";
import { start, watchPage } from "./store/live";
import { connectTasks } from "./store/tasks";
import { deviceName } from "./store/device";
import { startLanguage } from "./ui/preferences";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/parts.css";
import "./styles/shell.css";
import "./styles/task.css";
import "./styles/pages.css";

// First of all: the secret leaves the address bar and the history before anything can read it from there.
const secret = takeSecret();

async function enter(): Promise<string | null> {
  try {
    if (secret.token) await signIn(secret.token);
    else if (secret.pair) {
      await post("/v1/pairing/claim", { code: secret.pair, name: deviceName() });
      signedIn.value = true;
    }
    return null;
  } catch (error) {
    if (error instanceof ApiError && error.status === 0) return null;
    signedIn.value = false;
    return t(secret.pair ? "signin.pair_failed" : "signin.wrong");
  }
}

void startLanguage().finally(async () => {
  const problem = await enter();
  connectTasks();
  connectLists();
  watchPage();
  render(<App problem={problem} />, document.getElementById("app")!);
  if (signedIn.value !== false) start();
  if ("serviceWorker" in navigator && import.meta.env.PROD) navigator.serviceWorker.register("/sw.js").catch(() => {});
});
