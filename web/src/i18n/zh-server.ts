/**
 * What the server calls by an English name, in Chinese: tables and keys of the settings, kinds of task and their parameters.
 *
 * Where nothing stands here the panel shows the server's own word, as it does in English.
 */

export const zhServer: Record<string, string> = {
  "section.gateway": "网关", "section.model": "模型", "section.owner": "所有者", "section.sources": "来源", "section.delivery": "送达", "section.network": "网络",
  "section.limits": "限额", "section.exec": "执行命令", "section.sandbox": "沙箱", "section.approvals": "审批", "section.ledger": "账本", "section.chat": "聊天",
  "section.background": "后台工作", "section.search": "网页搜索", "section.budgets": "预算",

  "about.gateway": "监听的位置。allowed_hosts 是它应答的其他名称，例如 tailnet 或 TLS 代理的名称。",
  "about.delivery": "结果如何送达所有者。default 是一个地址，例如 telegram；未指定时为第一个渠道。quiet_hours（22:00-07:00，所有者的时区）和 digest（30m）会暂缓严重程度低于 breaks 的内容（low normal high critical）。",
  "about.limits": "可以同时运行和等待多少。当每个核心的负载超过 busy_load 时，low 和 idle 的工作会暂缓（0：从不）。",
  "about.sandbox": "命令在哪里运行。backend：auto、bubblewrap、seatbelt 或 container（需要 image）；memory 以 MB 计。",
  "about.chat": "对话。scope 为 main、per-peer 或 per-channel-peer；links 用地址指明联系人。queue、debounce、cap、drop 决定一轮进行中到达的消息如何处理；超过 yield 的工具会转到后台继续；progress 是聊天中要求的后台工作多久在那里报告一次。",
  "about.background": "哪些工作总是转到后台：rules 用平常的话写给模型，以及自行生效的界限。一轮聊天需要的工具调用多于 max_steps，或消息附件大于 max_bytes 时，会立即说明并转到后台继续。",
  "about.search": "web_search 向哪里查询：一个包含 {query} 的地址，以 SearXNG 的 JSON 应答。",
  "about.budgets": "每一轮、每个任务、每个自动化和每个会话可以用多少，以及每位所有者总计和每天可以用多少。一轮用完调用次数后结束；其他用完的会等待，上调后继续（每天的限额在午夜自行恢复）。",

  "field.host": "监听地址", "field.port": "端口", "field.allowed_hosts": "允许的主机名", "field.name": "名称", "field.base_url": "服务地址", "field.api_key": "API 密钥",
  "field.timeout": "超时", "field.fallbacks": "备用模型", "field.timezone": "时区", "field.calendar": "日历", "field.todo": "待办", "field.mail": "邮件", "field.feed": "订阅源",
  "field.weather": "天气", "field.contacts": "联系人", "field.default": "默认渠道", "field.quiet_hours": "安静时段", "field.digest": "汇总间隔", "field.breaks": "可打破安静的级别",
  "field.allow": "允许", "field.allow_private": "允许的内网地址", "field.concurrency": "并发数", "field.interactive": "交互并发数", "field.max_queued_per_owner": "每人排队上限",
  "field.max_running_per_owner": "每人运行上限", "field.busy_load": "繁忙负载", "field.mode": "模式", "field.backend": "后端", "field.image": "镜像", "field.memory": "内存",
  "field.processes": "进程数", "field.expire": "过期时间", "field.on_expiry": "过期时", "field.approvers": "审批人", "field.url": "地址", "field.retention": "保留时间",
  "field.result_retention": "结果保留时间", "field.scope": "范围", "field.links": "关联", "field.queue": "排队方式", "field.debounce": "合并等待", "field.cap": "上限", "field.drop": "丢弃方式",
  "field.yield": "转入后台的时限", "field.progress": "进度报告间隔", "field.context_tokens": "上下文令牌数", "field.rules": "规则", "field.max_steps": "步骤上限", "field.max_bytes": "附件大小上限",
  "field.turn": "每一轮", "field.task": "每个任务", "field.automation": "每个自动化", "field.session": "会话", "field.owner": "每位所有者", "field.day": "每天",

  "about.field.turn": "一个范围的上限；0 表示不限。cost 以美元计，seconds 为工作时间（等待不计）。",
  "about.field.task": "一个范围的上限；0 表示不限。cost 以美元计，seconds 为工作时间（等待不计）。",
  "about.field.automation": "一个范围的上限；0 表示不限。cost 以美元计，seconds 为工作时间（等待不计）。",
  "about.field.session": "一个范围的上限；0 表示不限。cost 以美元计，seconds 为工作时间（等待不计）。",
  "about.field.owner": "一个范围的上限；0 表示不限。cost 以美元计，seconds 为工作时间（等待不计）。",
  "about.field.day": "一个范围的上限；0 表示不限。cost 以美元计，seconds 为工作时间（等待不计）。",

  "field.message": "消息", "field.model": "模型", "field.agent": "代理", "field.tools": "工具", "field.input": "输入", "field.helper": "子代理", "field.items": "项目", "field.action": "动作",
  "field.max_failures": "失败上限", "field.retry": "重试", "field.argv": "命令行参数", "field.cwd": "工作目录", "field.env": "环境变量", "field.path": "路径", "field.focus": "关注点",
  "field.origin": "来源", "field.file": "文件", "field.document": "文档", "field.args": "参数", "field.include_calendar": "包括日历", "field.include_tasks": "包括待办", "field.include_weather": "包括天气",
  "field.include_mail": "包括邮件", "field.include_feeds": "包括订阅源", "field.date": "日期", "field.format": "格式", "field.method": "方法", "field.headers": "标头", "field.body": "正文",
  "field.width": "行宽", "field.seconds": "秒数", "field.effect_url": "效果地址", "field.span": "时段", "field.from": "从", "field.to": "到", "field.text": "文本", "field.buttons": "按钮",
  "field.steps": "步骤数", "field.step_seconds": "每步秒数", "field.fail_at": "在哪一步失败", "field.error": "错误", "field.text_limit": "文本上限",

  "^It waits for a yes: (.*)\\.$": "等待您同意：$1。",
  "^It is paused, until.*": "已暂停，直到有人让它继续。",
  "^It follows (.*)\\.$": "排在 $1 之后。",
  "^It failed (\\d+) time\\(s\\) \\((.*)\\) and is tried again at (.*)\\.$": "已失败 $1 次（$2），将于 $3 重试。",
  "^It is not to start before (.*)\\.$": "不早于 $1 开始。",
  "^It waits for its window, (.*)\\.$": "等待其时段：$1。",
  "^It is ready and waits for a free place; (\\d+) .*": "已就绪，等待空位；同一所有者有 $1 个任务在它之前。若网关未运行，将在下次启动时开始。",
  "^It waits until (.*)\\.$": "等到 $1。",
  "^It waits for an event from (.*)\\.$": "等待来自 $1 的事件。",
  "^It waits for its children: (.*)\\.$": "等待子任务：$1。",
  "^It was folded into (\\S+) .*": "已并入 $1，将得到其中属于它的结果。",
  "^Its budget is used up: (.*)\\.$": "预算已用完：$1。",
  "^It was cut off while (.*) was under way.*": "在执行 $1 时被中断，无法得知它是否已经发生。",
  "^Step (\\d+)$": "第 $1 步",
  "^Step (\\d+) of (\\d+)$": "第 $1 步，共 $2 步",

  "kind.make_subtitles": "制作字幕", "kind.read_calendar": "查看日程", "kind.read_schedule": "读懂时间",
  "about.kind.agent_turn": "助手的一轮：读取消息、使用工具并作答。",
  "about.kind.batch": "对许多项目逐一执行同一动作；最后报告哪些成功、哪些失败以及原因。",
  "about.kind.command": "在沙箱中运行程序：没有 shell，没有主目录，网络仅限允许列表。",
  "about.kind.digest_document": "长文档摘要：要点、风险、期限和要做的事。",
  "about.kind.flow": "可以等待、分支、并行、询问和撤销的步骤；YAML 或 JSON。",
  "about.kind.generate_daily_brief": "今日简报：日程、待办、天气、重要邮件、新闻。",
  "about.kind.http": "在允许的网络范围内发出一个 HTTP 请求。",
  "about.kind.make_subtitles": "把带时间的文字稿（Whisper 的 JSON）转成 .srt 字幕文件。",
  "about.kind.read_calendar": "有什么安排：今天、明天、本周，或某天到某天。",
  "about.kind.read_schedule": "把人们说的时间读成日程表，并列出接下来的三次；不创建任何内容。",
  "about.kind.remind": "到时间说出一段文字。",
  "about.kind.simulate": "模拟的长任务：逐步等待、报告进度，并可产生效果。",
};
