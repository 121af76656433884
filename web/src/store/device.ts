/** What this device is, and whether the panel can be installed on it. */

import { signal } from "@preact/signals";

interface InstallPrompt extends Event { prompt: () => Promise<void>; userChoice: Promise<{ outcome: string }> }

export const installPrompt = signal<InstallPrompt | null>(null);

addEventListener("beforeinstallprompt", (event) => {
  event.preventDefault();
  installPrompt.value = event as InstallPrompt;
});
addEventListener("appinstalled", () => {
  installPrompt.value = null;
});

export function deviceName(): string {
  const agent = navigator.userAgent;
  const system = ["iPhone", "iPad", "Android", "Windows", "Mac", "Linux"].find((one) => agent.includes(one)) ?? "Browser";
  const browser = ["Edg", "Firefox", "Chrome", "Safari"].find((one) => agent.includes(one)) ?? "";
  return `${system} ${browser === "Edg" ? "Edge" : browser}`.trim();
}
