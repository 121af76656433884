// The official TypeScript SDK against /mcp. Arguments: ADDRESS TOKEN.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { CallToolResultSchema, LoggingMessageNotificationSchema } from "@modelcontextprotocol/sdk/types.js";

const [address, token] = process.argv.slice(2);
const headers = { authorization: `Bearer ${token}` };
const client = new Client({ name: "test", version: "1" });
const logs = [];
const progress = [];
client.setNotificationHandler(LoggingMessageNotificationSchema, (note) => void logs.push(note.params.data));
const transport = new StreamableHTTPClientTransport(new URL(`${address}/mcp`), { requestInit: { headers } });
await client.connect(transport);
await client.ping();
const tools = await client.listTools();
const ran = await client.callTool(
  { name: "tasks_run", arguments: { kind: "simulate", params: { steps: 4, step_seconds: 0.2 }, wait: true, title: "Four" } },
  CallToolResultSchema,
  { onprogress: (one) => void progress.push([one.progress, one.total]) },
);
const task = JSON.parse(ran.content[0].text);
const resources = await client.listResources();
const templates = await client.listResourceTemplates();
const read = await client.readResource({ uri: `tawny://tasks/${task.task_id}` });
const prompts = await client.listPrompts();
const prompt = await client.getPrompt({ name: "plan_regularly", arguments: { what: "Look", when: "daily" } });
const refused = await client.callTool({ name: "tasks_get", arguments: { id: "task_none" } });
console.log(JSON.stringify({
  version: transport.protocolVersion, tools: tools.tools.map((one) => one.name), status: task.status, progress, logs,
  resources: resources.resources.map((one) => one.uri), templates: templates.resourceTemplates.length,
  read: JSON.parse(read.contents[0].text).title, prompts: prompts.prompts.map((one) => one.name),
  prompt: prompt.messages[0].content.text, refused: refused.isError,
}));
await client.close();
