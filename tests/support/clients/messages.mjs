// Clients from npm that speak Anthropic's Messages: each asks the same questions in the same order, and tells what it saw.
//   node messages.mjs CLIENT ORIGIN   prints one JSON object, by question
// Needs NODE_TOOLS, the folder with node_modules.
import {createRequire} from "node:module";
import {pathToFileURL} from "node:url";

const require = createRequire(`${process.env.NODE_TOOLS}/package.json`);
const load = (name) => import(pathToFileURL(require.resolve(name)));
const [client, origin] = process.argv.slice(2);
const model = "acme/m";
const apiKey = "none";
const schema = {type: "object", properties: {port: {type: "string"}}};
const picture = "iVBORw0KGgo=";

async function told(work) {
  const seen = {text: "", thinking: "", calls: [], stop: null, usage: null, cost: null, error: null};
  try {
    await work(seen);
  } catch (error) {
    seen.error = String(error?.message ?? error);
    seen.status = error?.status ?? error?.statusCode ?? null;
  }
  return seen;
}

async function withSdk() {
  const {default: Anthropic} = await load("@anthropic-ai/sdk");
  const make = (maxRetries) => new Anthropic({baseURL: origin, apiKey, maxRetries});
  const ask = {role: "user", content: "Why?"};
  const tools = [{name: "tide", input_schema: schema}];
  const noteMessage = (seen, message) => {
    seen.stop = message.stop_reason;
    seen.usage = message.usage.input_tokens + message.usage.output_tokens;
    seen.cost ??= message.usage.cost ?? null;
    for (const block of message.content) {
      if (block.type === "tool_use") seen.calls.push({name: block.name, arguments: JSON.stringify(block.input)});
    }
  };
  const stream = async (seen, body = {}, api = make(0), enough = null) => {
    const running = api.messages.stream({model, max_tokens: 100, messages: [ask], ...body});
    running.on("text", (text) => (seen.text += text));
    running.on("thinking", (text) => (seen.thinking += text));
    for await (const event of running) {
      if (event.type === "message_delta") seen.cost = event.usage.cost; // the message that the SDK makes has none
      if (enough && seen.text === enough) return running.abort();
    }
    const message = await running.finalMessage();
    noteMessage(seen, message);
    return message;
  };
  let turn;
  return {
    text: (seen) => {
      const image = {type: "image", source: {type: "base64", media_type: "image/png", data: picture}};
      return stream(seen, {messages: [{role: "user", content: [{type: "text", text: "What?"}, image]}]});
    },
    call: async (seen) => (turn = await stream(seen, {tools})),
    turn: (seen) => {
      const result = {type: "tool_result", tool_use_id: turn.content.at(-1).id, content: "high"};
      const messages = [ask, {role: "assistant", content: turn.content}, {role: "user", content: [result]}];
      return stream(seen, {tools, messages});
    },
    refused: (seen) => stream(seen),
    waited: (seen) => stream(seen, {}, make(2)),
    failed: (seen) => stream(seen),
    cut: (seen) => stream(seen),
    whole: async (seen) => {
      const message = await make(0).messages.create({model, max_tokens: 100, messages: [ask]});
      seen.text = message.content.filter((block) => block.type === "text").map((block) => block.text).join("");
      noteMessage(seen, message);
    },
    left: (seen) => stream(seen, {}, make(0), "abc"),
  };
}

async function withAiSdk() {
  const {createAnthropic} = await load("@ai-sdk/anthropic");
  const {generateText, isStepCount, streamText, tool, jsonSchema} = await load("ai");
  const chat = createAnthropic({apiKey, baseURL: `${origin}/v1`})(model);
  const tools = {tide: tool({inputSchema: jsonSchema(schema), execute: () => "high"})};
  const messages = [{role: "user", content: "Why?"}];
  const run = async (seen, more = {}) => {
    const running = streamText({model: chat, messages, maxRetries: 0, onError: () => {}, ...more});
    const stream = running.fullStream ?? running.stream;
    for await (const part of stream) {
      if (part.type === "text-delta") seen.text += part.text;
      if (part.type === "reasoning-delta") seen.thinking += part.text;
      if (part.type === "tool-call") seen.calls.push({name: part.toolName, arguments: JSON.stringify(part.input)});
      if (part.type === "finish-step") {
        seen.stop = part.finishReason;
        seen.usage = part.usage.totalTokens;
        seen.cost = part.usage.raw?.cost ?? part.providerMetadata?.anthropic?.usage?.cost ?? null;
      }
      if (part.type === "error") {
        seen.status ??= part.error?.statusCode ?? null;
        seen.error = String(part.error?.message ?? JSON.stringify(part.error));
      }
      if (seen.text === "abc" && more.abortSignal) more.stop();
    }
  };
  const image = `data:image/png;base64,${picture}`;
  const shown = [{type: "text", text: "What?"}, {type: "file", data: image, mediaType: "image/png"}];
  return {
    text: (seen) => run(seen, {messages: [{role: "user", content: shown}]}),
    call: (seen) => run(seen, {tools, stopWhen: isStepCount(2)}), // the second turn is asked for by itself
    refused: (seen) => run(seen),
    waited: (seen) => run(seen, {maxRetries: 2}),
    failed: (seen) => run(seen),
    cut: (seen) => run(seen),
    whole: async (seen) => {
      const found = await generateText({model: chat, messages, maxRetries: 0});
      seen.text = found.text;
      seen.usage = found.usage.totalTokens;
    },
    left: async (seen) => {
      const stop = new AbortController();
      await run(seen, {abortSignal: stop.signal, stop: () => stop.abort()});
    },
  };
}

const clients = {"@anthropic-ai/sdk": withSdk, "@ai-sdk/anthropic": withAiSdk};
const found = {};
for (const [question, work] of Object.entries(await clients[client]())) found[question] = await told(work);
console.log(JSON.stringify(found));
