// OpenAI's own client and the eventsource package against the gateway. Arguments: ADDRESS TOKEN.
import { EventSource } from "eventsource";
import OpenAI from "openai";

const [address, token] = process.argv.slice(2);
const found = { models: [], whole: "", streamed: "", chunks: 0, refused: 0, seqs: [], again: [], comebacks: 0 };

const openai = new OpenAI({ apiKey: token, baseURL: `${address}/v1`, maxRetries: 0 });
for await (const model of openai.models.list()) found.models.push(model.id);
const messages = [{ role: "user", content: "hello" }];
found.whole = (await openai.chat.completions.create({ model: "tawny", messages, user: "js" })).choices[0].message.content;
for await (const chunk of await openai.chat.completions.create({ model: "tawny", messages, user: "js2", stream: true })) {
  found.chunks += 1;
  found.streamed += chunk.choices[0]?.delta?.content ?? "";
}
try {
  await new OpenAI({ apiKey: "wrong", baseURL: `${address}/v1`, maxRetries: 0 }).models.list();
} catch (error) {
  found.refused = error.status;
}

const headers = { authorization: `Bearer ${token}` };
/** The numbers of events after a place, until `count` have come. */
function listen(after, count, into, cut = 0) {
  return new Promise((resolve, reject) => {
    let last;
    const source = new EventSource(`${address}/v1/stream?after=${after}`, {
      fetch: (url, init) => fetch(url, { ...init, headers: { ...init.headers, ...headers } }).then((answer) => {
        last = init.headers["Last-Event-ID"];
        if (last) found.comebacks += 1;
        if (!cut || last) return answer;
        // The line breaks in the middle: the client has to come back by itself.
        let left = cut;
        const broken = answer.body.pipeThrough(new TransformStream({
          transform(part, to) {
            to.enqueue(part.subarray(0, left));
            left -= part.length;
            if (left <= 0) to.terminate();
          },
        }));
        return new Response(broken, { status: answer.status, headers: answer.headers });
      }),
    });
    const timer = setTimeout(() => reject(new Error(`only ${into.length} events came`)), 30_000);
    source.onmessage = (event) => {
      if (event.lastEventId) into.push(Number(event.lastEventId));
      if (into.length < count) return;
      clearTimeout(timer);
      source.close();
      resolve();
    };
  });
}
const all = [];
await listen(0, 10, all);
found.seqs = all;
const again = [];
await listen(0, 10, again, 700);
found.again = again;
console.log(JSON.stringify(found));
process.exit(0);
