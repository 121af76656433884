/** Theme and language: kept in this browser, as they are no secrets and no server's business. */

import { effect, signal } from "@preact/signals";
import { LANGUAGES, language, preferredLanguage, setLanguage, t } from "../i18n";
import { PlainChoice } from "./fields";

const THEMES = ["system", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

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
      <PlainChoice label={t("language")} value={language.value} options={Object.keys(LANGUAGES)} text={(one) => LANGUAGES[one]!} onChoose={(one) => {
        store("language", one);
        void setLanguage(one);
      }} />
      <PlainChoice label={t("theme")} value={theme.value} options={THEMES} text={(one) => t(`theme.${one}`)} onChoose={(one) => {
        theme.value = one;
        store("theme", one);
      }} />
    </div>
  );
}
