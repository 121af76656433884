/** Theme and language: kept in this browser, as they are no secrets and no server's business. */

import { effect, signal } from "@preact/signals";
import { LANGUAGES, language, preferredLanguage, setLanguage, t } from "../i18n";

export type Theme = "system" | "light" | "dark";

function stored(name: string): string | null {
  try {
    return localStorage.getItem(`tawny.${name}`);
  } catch {
    return null;
  }
}

export function store(name: string, value: string): void {
  try {
    localStorage.setItem(`tawny.${name}`, value);
  } catch {
    // Private windows may refuse; the choice then lasts as long as the page.
  }
}

export const remembered = stored;
export const theme = signal<Theme>((stored("theme") as Theme | null) ?? "system");

effect(() => {
  if (theme.value === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme.value;
});

export const startLanguage = (): Promise<void> => setLanguage(preferredLanguage(stored("language")));

export function Preferences() {
  return (
    <div class="preferences row">
      <label><span class="visually-hidden">{t("language")}</span>
        <select value={language.value} onChange={(event) => {
          store("language", event.currentTarget.value);
          void setLanguage(event.currentTarget.value);
        }}>
          {Object.entries(LANGUAGES).map(([id, name]) => <option key={id} value={id} lang={id}>{name}</option>)}
        </select>
      </label>
      <label><span class="visually-hidden">{t("theme")}</span>
        <select value={theme.value} onChange={(event) => {
          theme.value = event.currentTarget.value as Theme;
          store("theme", theme.value);
        }}>
          {(["system", "light", "dark"] as const).map((one) => <option key={one} value={one}>{t(`theme.${one}`)}</option>)}
        </select>
      </label>
    </div>
  );
}
