export const en = {
  "loading": "Loading", "close": "Close", "back": "Back", "try_again": "Try again", "more": "Show more", "more.n": "Show {n} more", "save": "Save", "cancel": "Cancel", "copy": "Copy", "copied": "Copied", "all": "All", "none": "None", "yes": "Yes", "no": "No",
  "language": "Language", "theme": "Theme", "theme.system": "System theme", "theme.light": "Light", "theme.dark": "Dark", "skip": "Skip to content",

  "nav": "Main", "nav.board": "Board", "nav.chat": "Chat", "nav.approvals": "Approvals", "nav.automations": "Automations", "nav.calendar": "Calendar", "nav.metrics": "Metrics", "nav.audit": "Audit", "nav.sessions": "Sessions", "nav.knowledge": "Memory & skills", "nav.channels": "Channels", "nav.devices": "Devices", "nav.settings": "Settings", "nav.more": "More", "nav.group.watch": "Look back", "nav.group.assistant": "Assistant", "nav.group.setup": "Set up",
  "nav.sign_out": "Sign out", "nav.shortcuts": "Keyboard shortcuts",

  "signin.title": "Sign in", "signin.lead": "This panel belongs to one owner. Show that it is you.", "signin.token": "Access token", "signin.go": "Sign in", "signin.wrong": "That token is not valid here. Copy it again from where the gateway printed it.", "signin.pair_failed": "That pairing code is used up or has run out. Make a new one on a device that is signed in.",
  "signin.where": "Where do I find it?", "signin.where_1": "On the machine where Tawny runs, start it:", "signin.where_2": "It prints a link that signs you in:", "signin.where_3": "Open that link, or paste it – or the token alone – above. The token is also in the file “token” in Tawny’s home.",

  "live.connecting": "Connecting…", "live.live": "Live", "live.offline": "Not connected", "live.banner": "No connection to Tawny. Work goes on there; you see how things stood {time}.", "live.banner_first": "No connection to Tawny. Is the gateway running?", "live.retry": "Connect now",
  "announce.succeeded": "Done: {title}", "announce.failed": "Failed: {title}", "announce.approval": "Your yes is needed: {title}",

  "status.queued": "Queued", "status.running": "Running", "status.waiting": "Waiting", "status.paused": "Paused", "status.succeeded": "Done", "status.failed": "Failed", "status.timed_out": "Timed out", "status.cancelled": "Cancelled", "status.lost": "Lost", "status.uncertain": "Uncertain",
  "status.active": "Active", "status.completed": "Completed", "status.disabled": "Off",
  "column.needs_you": "Needs you", "column.running": "Running", "column.queued": "Queued", "column.scheduled": "Scheduled", "column.done": "Done", "column.count": "{n} entry|{n} entries", "column.no_match": "Nothing here matches the filter.",
  "column.empty.needs_you": "Nothing waits for you. Questions that only you may answer appear here.", "column.empty.running": "Nothing runs right now.", "column.empty.queued": "No work is lined up.", "column.empty.scheduled": "Nothing is planned. Automations show their next run here.", "column.empty.done": "What has ended appears here with its result.",
  "view.board": "Columns", "view.list": "List",
  "filter.text": "Search tasks", "filter.status": "Status", "filter.kind": "Kind", "filter.runtime": "Started by", "filter.any_status": "Any status", "filter.any_kind": "Any kind", "filter.any_runtime": "Any origin", "filter.clear": "Clear",
  "bulk.cancel": "Cancel all {n}", "bulk.retry": "Retry all {n}",
  "board.new.title": "Give it something to do", "board.new.text": "Work runs here in the background and is never lost: you watch it move, answer its questions, and find the result – on this device and every other. Start with a small trial task.", "board.new.try": "Start a trial task", "board.new.chat": "Ask in chat", "board.new.automation": "Plan something regular",

  "command.cancel": "Cancel", "command.pause": "Pause", "command.resume": "Resume", "command.retry": "Run again", "told.cancel": "“{title}” is cancelled", "told.retry": "“{title}” runs again", "told.accepted": "“{title}” is accepted", "told.approved": "Approved: {tool}", "told.denied": "Denied: {tool}", "told.answered_before": "Already answered: {outcome}, by {by}", "told.saved": "Saved", "told.copied": "Copied",
  "progress.of": "Progress of {title}", "progress.unknown": "Working, no total known", "progress.left": "{time} left", "progress.almost": "almost done",
  "wait.retry": "Tries again {time} after attempt {n}", "wait.starts": "Starts {time}", "wait.until": "Goes on {time}", "wait.timer": "Waiting for its time", "wait.event": "Waiting for something to happen", "wait.approval": "Waiting for your yes", "wait.child": "Waiting for another task", "wait.budget": "Its budget is used up: raise it or cancel", "wait.reconcile": "Was interrupted in the middle of something that must not happen twice: please decide",
  "reconcile.done": "It happened", "reconcile.redo": "Do it again", "reconcile.give_up": "Give up", "reconcile.hint": "Look first whether the other side got it; then decide.", "intent.cancel": "Cancelling…", "intent.pause": "Pausing after this step…",

  "task.new": "New task", "task.open": "Open", "task.kind": "What", "task.more": "Title, priority, start time", "task.title": "Title", "task.priority": "Priority", "task.not_before": "Not before", "task.not_before_hint": "A time, or how long from now: 30m, 2h", "task.start": "Start", "task.by_automation": "automation", "task.attempt": "attempt {n}",
  "kind.agent_turn": "Ask the assistant", "kind.remind": "Remind me", "kind.command": "Run a command", "kind.http": "Call a web address", "kind.simulate": "Trial task", "kind.flow": "Flow", "kind.batch": "Batch", "kind.generate_daily_brief": "Daily brief", "kind.digest_document": "Digest a document",
  "priority.interactive": "Interactive", "priority.high": "High", "priority.normal": "Normal", "priority.low": "Low", "priority.idle": "When idle",
  "form.not_json": "This is not valid JSON yet.", "form.one_a_line": "one a line", "form.parameters": "Parameters", "form.options": "{n} option|{n} options", "form.default": "{value} (default)",

  "approval.of": "Approval: {tool}", "approval.no_arguments": "It takes no arguments.", "approval.expires": "expires in {time}", "approval.expiring": "expires now", "approval.via": "by way of {via}", "approval.untrusted": "untrusted content had a hand in it", "approval.level": "Level {n}", "approval.level_hint": "How much harm a mistake could do", "approval.origin": "Asked by", "approval.read": "It has read", "approval.task": "Task", "approval.asked": "Asked", "approval.note": "Why not? The assistant reads this and looks for another way.", "approval.note_example": "e.g. Use the test account instead", "approval.deny_now": "Deny", "approval.deny": "Deny", "approval.deny_note": "Deny with a note…", "approval.approve": "Approve", "approval.approve_edited": "Approve as edited", "approval.always": "Always allow", "approval.always_hint": "Yes now, and from now on without asking for the same thing", "approval.edit": "Edit", "approval.discard": "Discard changes", "approval.more": "Details",
  "approval.pending": "Open", "approval.approved": "Approved", "approval.denied": "Denied", "approval.expired": "Expired",
  "tool.exec": "Run a command", "tool.http_request": "Send a web request", "tool.mail_send": "Send an e-mail", "tool.send_message": "Send a message", "tool.write_file": "Write a file", "tool.web_fetch": "Fetch a web page", "tool.calendar_add": "Add to the calendar", "tool.memory_save": "Remember something", "tool.automations": "Change automations", "tool.tasks": "Manage tasks",
  "origin.owner": "you", "origin.automation": "an automation", "origin.event": "an outside event", "origin.model": "the assistant", "origin.contact": "a contact", "origin.stranger": "a stranger", "origin.cli": "command line", "origin.http": "HTTP", "origin.panel": "the panel", "origin.chat": "chat", "origin.channel": "a channel", "origin.schedule": "the schedule", "origin.webhook": "a webhook", "origin.subagent": "a subagent", "origin.flow": "a flow", "origin.mcp": "MCP",
  "text.hidden": "A character you would not see",
  "error.offline": "Tawny cannot be reached right now.", "error.missing": "This is not here, or no longer.",
  "unit.ms": "{n} ms", "unit.s": "{n} s", "unit.min": "{n} min", "unit.h": "{n} h", "unit.d": "{n} d", "time.now": "just now", "usage.unknown_price": "price unknown",
} as const;

export type Key = keyof typeof en;
export type Catalogue = Record<Key, string>;
