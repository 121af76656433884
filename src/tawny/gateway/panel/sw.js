// The service worker: keeps the shell for bad lines, shows notifications, carries out Approve and Deny from them.
const CACHE = "tawny-412d376b4acd";
const SHELL = ["/","/assets/index-9jFFey8t.js","/assets/zh-Crn-be2n.txt","/manifest.webmanifest","/icon.svg"];

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(SHELL)).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  event.waitUntil(
    caches.keys()
      .then((names) => Promise.all(names.filter((name) => name.startsWith("tawny-") && name !== CACHE).map((name) => caches.delete(name))))
      .then(() => self.clients.claim()),
  );
});

self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  // What changes is never kept: only the shell's own files are answered from here.
  if (event.request.method !== "GET" || url.origin !== self.location.origin || !(SHELL.includes(url.pathname) || url.pathname === "/index.html")) return;
  const key = url.pathname === "/index.html" ? "/" : url.pathname;
  if (key === "/") {
    event.respondWith(fetch(event.request).catch(() => caches.match(key, { cacheName: CACHE })));
  } else {
    event.respondWith(caches.match(key, { cacheName: CACHE }).then((kept) => kept ?? fetch(event.request)));
  }
});

const TEXT = {
  en: { approve: "Approve", deny: "Deny", approved: "Approved", denied: "Denied", before: "Already answered elsewhere", failed: "That did not reach Tawny. Open the panel to answer." },
  zh: { approve: "批准", deny: "拒绝", approved: "已批准", denied: "已拒绝", before: "已在别处答复", failed: "没有送达 Tawny，请打开面板答复。",
    "Tawny needs your yes": "Tawny 需要您的同意", "A task is done": "任务已完成", "A task has failed": "任务失败", "Push works.": "推送可用。" },
};
const words = () => (self.navigator.language.toLowerCase().startsWith("zh") ? TEXT.zh : TEXT.en);

self.addEventListener("push", (event) => {
  let message = {};
  try {
    message = event.data ? event.data.json() : {};
  } catch {
    message = { body: event.data.text() };
  }
  const say = words();
  const actions = message.approval_id ? [{ action: "approve", title: say.approve }, { action: "deny", title: say.deny }] : [];
  event.waitUntil(self.registration.showNotification(say[message.title] || message.title || "Tawny", {
    body: say[message.body] || message.body || "",
    tag: message.tag || message.approval_id || message.task_id,
    icon: "/icon-192.png",
    badge: "/badge.png",
    requireInteraction: Boolean(message.approval_id),
    actions,
    data: { url: message.url, approval_id: message.approval_id, task_id: message.task_id },
  }));
});

/** Only addresses of this panel are opened, whatever a message says. */
function address(data) {
  if (data.approval_id) return `/#/approvals/${encodeURIComponent(data.approval_id)}`;
  if (typeof data.url === "string" && data.url.startsWith("/#/")) return data.url;
  return data.task_id ? `/#/tasks/${encodeURIComponent(data.task_id)}` : "/";
}

async function openPanel(data) {
  const goal = address(data);
  const windows = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  for (const one of windows) {
    if (new URL(one.url).origin === self.location.origin) {
      await one.focus();
      return one.navigate(goal).catch(() => self.clients.openWindow(goal));
    }
  }
  return self.clients.openWindow(goal);
}

async function answer(id, verb) {
  const say = words();
  let outcome = say.failed;
  try {
    const response = await fetch(`/v1/approvals/${encodeURIComponent(id)}/${verb}`, {
      method: "POST",
      credentials: "same-origin",
      headers: { "Content-Type": "application/json", "Idempotency-Key": `push-${id}-${verb}` },
      body: "{}",
    });
    if (response.ok) outcome = verb === "approve" ? say.approved : say.denied;
    else if (response.status === 409) outcome = say.before;
  } catch {
    // Said below.
  }
  return self.registration.showNotification(outcome, { tag: id, icon: "/icon-192.png", badge: "/badge.png", data: { approval_id: id } });
}

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  const data = event.notification.data || {};
  const verb = event.action;
  event.waitUntil((verb === "approve" || verb === "deny") && data.approval_id ? answer(data.approval_id, verb) : openPanel(data));
});
