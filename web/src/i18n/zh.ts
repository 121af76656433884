import type { Catalogue } from "./en";

export const zh: Catalogue = {
  "loading": "正在加载", "close": "关闭", "back": "返回", "try_again": "重试", "more": "显示更多", "more.n": "再显示 {n} 项", "save": "保存", "cancel": "取消", "copy": "复制", "copied": "已复制", "all": "全部", "none": "无", "yes": "是", "no": "否",
  "language": "语言", "theme": "主题", "theme.system": "跟随系统", "theme.light": "浅色", "theme.dark": "深色", "skip": "跳到内容",

  "nav": "主导航", "nav.board": "看板", "nav.chat": "对话", "nav.approvals": "审批", "nav.automations": "自动化", "nav.calendar": "日历", "nav.metrics": "指标", "nav.audit": "审计", "nav.sessions": "会话", "nav.knowledge": "记忆与技能", "nav.channels": "渠道", "nav.devices": "设备", "nav.settings": "设置", "nav.more": "更多", "nav.group.watch": "回顾", "nav.group.assistant": "助理", "nav.group.setup": "配置",
  "nav.sign_out": "退出登录", "nav.shortcuts": "键盘快捷键",

  "signin.title": "登录", "signin.lead": "这个面板只属于一位主人，请证明是您本人。", "signin.token": "访问令牌", "signin.go": "登录", "signin.wrong": "此令牌在这里无效，请从网关输出处重新复制。", "signin.pair_failed": "该配对码已被使用或已过期，请在已登录的设备上重新生成。",
  "signin.where": "在哪里找到它？", "signin.where_1": "在运行 Tawny 的机器上启动它：", "signin.where_2": "它会输出一个登录链接：", "signin.where_3": "打开该链接，或把链接（或仅令牌）粘贴到上方。令牌也保存在 Tawny 主目录的 “token” 文件中。",

  "live.connecting": "正在连接…", "live.live": "实时", "live.offline": "未连接", "live.banner": "与 Tawny 的连接已断开。工作仍在那边继续；您看到的是{time}的状态。", "live.banner_first": "无法连接 Tawny。网关在运行吗？", "live.retry": "立即连接",
  "announce.succeeded": "完成：{title}", "announce.failed": "失败：{title}", "announce.approval": "需要您同意：{title}",

  "status.queued": "排队中", "status.running": "运行中", "status.waiting": "等待中", "status.paused": "已暂停", "status.succeeded": "完成", "status.failed": "失败", "status.timed_out": "超时", "status.cancelled": "已取消", "status.lost": "丢失", "status.uncertain": "不确定",
  "status.active": "启用", "status.completed": "已结束", "status.disabled": "停用",
  "column.needs_you": "需要您", "column.running": "运行中", "column.queued": "排队", "column.scheduled": "已计划", "column.done": "已结束", "column.count": "{n} 项", "column.no_match": "没有符合筛选条件的内容。",
  "column.empty.needs_you": "没有事情在等您。只有您能回答的问题会出现在这里。", "column.empty.running": "当前没有任务在运行。", "column.empty.queued": "没有排队的工作。", "column.empty.scheduled": "没有计划。自动化的下一次运行会显示在这里。", "column.empty.done": "结束的任务及其结果会出现在这里。",
  "view.board": "分栏", "view.list": "列表",
  "filter.text": "搜索任务", "filter.status": "状态", "filter.kind": "种类", "filter.runtime": "来源", "filter.any_status": "所有状态", "filter.any_kind": "所有种类", "filter.any_runtime": "所有来源", "filter.clear": "清除",
  "bulk.cancel": "取消全部 {n} 项", "bulk.retry": "重新运行全部 {n} 项",
  "board.new.title": "交给它一件事", "board.new.text": "工作在这里于后台运行，绝不丢失：您看着它推进，回答它的问题，并在这台及其他每台设备上看到结果。先从一个小的试运行任务开始吧。", "board.new.try": "启动试运行任务", "board.new.chat": "在对话中提问", "board.new.automation": "安排定期工作",

  "command.cancel": "取消", "command.pause": "暂停", "command.resume": "继续", "command.retry": "重新运行", "told.cancel": "已取消“{title}”", "told.retry": "“{title}”重新运行", "told.accepted": "已接受“{title}”", "told.approved": "已批准：{tool}", "told.denied": "已拒绝：{tool}", "told.answered_before": "已有答复：{outcome}（{by}）", "told.saved": "已保存", "told.copied": "已复制",
  "progress.of": "{title}的进度", "progress.unknown": "进行中，总量未知", "progress.left": "还需 {time}", "progress.almost": "即将完成",
  "wait.retry": "第 {n} 次尝试后，{time}重试", "wait.starts": "{time}开始", "wait.until": "{time}继续", "wait.timer": "等待时间到来", "wait.event": "等待某事发生", "wait.approval": "等待您同意", "wait.child": "等待另一个任务", "wait.budget": "预算已用完：请追加或取消", "wait.reconcile": "在一个不能重复执行的步骤中被打断：请您决定",
  "reconcile.done": "已经发生", "reconcile.redo": "再做一次", "reconcile.give_up": "放弃", "reconcile.hint": "先查看对方是否已收到，再作决定。", "intent.cancel": "正在取消…", "intent.pause": "将在此步骤后暂停…",

  "task.new": "新任务", "task.open": "打开", "task.kind": "内容", "task.more": "标题、优先级、开始时间", "task.title": "标题", "task.priority": "优先级", "task.not_before": "不早于", "task.not_before_hint": "一个时间，或从现在起多久：30m、2h", "task.start": "开始", "task.by_automation": "自动化", "task.attempt": "第 {n} 次尝试",
  "kind.agent_turn": "询问助理", "kind.remind": "提醒我", "kind.command": "运行命令", "kind.http": "访问网址", "kind.simulate": "试运行任务", "kind.flow": "流程", "kind.batch": "批处理", "kind.generate_daily_brief": "每日简报", "kind.digest_document": "文档摘要",
  "priority.interactive": "交互", "priority.high": "高", "priority.normal": "普通", "priority.low": "低", "priority.idle": "空闲时",
  "form.not_json": "这还不是有效的 JSON。", "form.one_a_line": "每行一个", "form.parameters": "参数", "form.options": "{n} 个选项", "form.default": "{value}（默认）",

  "approval.of": "审批：{tool}", "approval.no_arguments": "没有参数。", "approval.expires": "{time}后过期", "approval.expiring": "即将过期", "approval.via": "经由{via}", "approval.untrusted": "有不可信内容参与", "approval.level": "{n} 级", "approval.level_hint": "出错时可能造成的损害", "approval.origin": "请求者", "approval.read": "它读过", "approval.task": "任务", "approval.asked": "提出时间", "approval.note": "为什么不？助理会读到并另想办法。", "approval.note_example": "例如：请改用测试账户", "approval.deny_now": "拒绝", "approval.deny": "拒绝", "approval.deny_note": "附言拒绝…", "approval.approve": "批准", "approval.approve_edited": "按修改批准", "approval.always": "始终允许", "approval.always_hint": "这次同意，今后同样的事不再询问", "approval.edit": "修改", "approval.discard": "放弃修改", "approval.more": "详情",
  "approval.pending": "待处理", "approval.approved": "已批准", "approval.denied": "已拒绝", "approval.expired": "已过期",
  "tool.exec": "运行命令", "tool.http_request": "发送网络请求", "tool.mail_send": "发送邮件", "tool.send_message": "发送消息", "tool.write_file": "写入文件", "tool.web_fetch": "读取网页", "tool.calendar_add": "添加日程", "tool.memory_save": "记住某事", "tool.automations": "修改自动化", "tool.tasks": "管理任务",
  "origin.owner": "您", "origin.automation": "自动化", "origin.event": "外部事件", "origin.model": "助理", "origin.contact": "联系人", "origin.stranger": "陌生人", "origin.cli": "命令行", "origin.http": "HTTP", "origin.panel": "面板", "origin.chat": "对话", "origin.channel": "渠道", "origin.schedule": "日程", "origin.webhook": "Webhook", "origin.subagent": "子代理", "origin.flow": "流程", "origin.mcp": "MCP",
  "text.hidden": "一个看不见的字符",
  "error.offline": "现在无法连接 Tawny。", "error.missing": "这里没有此内容，或已不存在。",
  "unit.ms": "{n} 毫秒", "unit.s": "{n} 秒", "unit.min": "{n} 分钟", "unit.h": "{n} 小时", "unit.d": "{n} 天", "time.now": "刚刚", "usage.unknown_price": "价格未知",
};
