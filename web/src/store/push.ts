/** Notifications on this device, also while the panel is closed. */

import { ApiError, get, post } from "../api";

export type PushState = "unsupported" | "insecure" | "needs_install" | "denied" | "off" | "on" | "no_server";

const bytesOf = (text: string): Uint8Array<ArrayBuffer> => {
  const plain = atob(text.replace(/-/g, "+").replace(/_/g, "/").padEnd(Math.ceil(text.length / 4) * 4, "="));
  return Uint8Array.from(plain, (char) => char.charCodeAt(0));
};

export async function pushState(): Promise<PushState> {
  if (!isSecureContext) return "insecure";
  // An iPhone grants push only to what was added to the home screen.
  if (!("PushManager" in window)) return /iPhone|iPad/.test(navigator.userAgent) ? "needs_install" : "unsupported";
  if (!("serviceWorker" in navigator)) return "unsupported";
  if (Notification.permission === "denied") return "denied";
  const registration = await navigator.serviceWorker.getRegistration();
  return (await registration?.pushManager.getSubscription()) ? "on" : "off";
}

export async function switchOn(name: string): Promise<PushState> {
  let key: string;
  try {
    key = (await get<{ public_key: string }>("/v1/push/key")).public_key;
  } catch (error) {
    if (error instanceof ApiError && error.isMissing) return "no_server";
    throw error;
  }
  if ((await Notification.requestPermission()) !== "granted") return "denied";
  const registration = await navigator.serviceWorker.ready;
  const subscription = await registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: bytesOf(key) });
  await post("/v1/push/subscriptions", { ...subscription.toJSON(), name });
  return "on";
}

export async function switchOff(): Promise<PushState> {
  const registration = await navigator.serviceWorker.getRegistration();
  const subscription = await registration?.pushManager.getSubscription();
  if (subscription) {
    await subscription.unsubscribe();
    await post("/v1/push/unsubscribe", { endpoint: subscription.endpoint }).catch(() => {});
  }
  return "off";
}
