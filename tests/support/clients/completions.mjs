// Clients from npm that speak Chat Completions: each asks the same questions in the same order, and tells what it saw.
//   node completions.mjs CLIENT ORIGIN   prints one JSON object, by question
// Needs NODE_TOOLS, the folder with node_modules.
import {createRequire} from "node:module";
import {pathToFileURL} from "node:url";

const require = createRequire(`${process.env.NODE_TOOLS}/package.json`);
const load = (name) => import(pathToFileURL(require.resolve(name)));
const [client, origin] = process.argv.slice(2);
const model = "acme/m";
const apiKey = "none";
const parameters = {type: "object", properties: {port: {type: "string"}}};
const picture = "data:image/png;base64,iVBORw0KGgo=";
const ask = {role: "user", content: "Why?"};
const withPicture = {
  role: "user",
  content: [
    {type: "text", text: "What is it?"},
    {type: "image_url", image_url: {url: picture}},
  ],
};

async function told(work) {
  const seen = {text: "", thinking: "", calls: [], files: 0, usage: null, cost: null, error: null};
  try {
    await work(seen);
  } catch (error) {
    seen.error = String(error?.message ?? error);
    seen.status = error?.status ?? error?.statusCode ?? null;
  }
  return seen;
}

// -- SDKs that give chunks ---------------------------------------------------------------------------------------------

function noteChunk(seen, chunk) {
  if (chunk.usage) {
    seen.usage = chunk.usage.total_tokens ?? chunk.usage.totalTokens;
    seen.cost = chunk.usage.cost;
  }
  if (chunk.error) throw new Error(chunk.error.message);
  for (const {delta = {}} of chunk.choices ?? []) {
    seen.text += delta.content ?? "";
    seen.thinking += delta.reasoning ?? "";
    seen.files += (delta.images ?? []).length;
    (seen.details ??= []).push(...(delta.reasoning_details ?? delta.reasoningDetails ?? []));
    for (const {index, id, function: {name, arguments: text} = {}} of delta.tool_calls ?? delta.toolCalls ?? []) {
      const call = (seen.calls[index] ??= {id, name, arguments: ""});
      call.arguments += text ?? "";
    }
  }
}

async function withOpenAi() {
  const {default: OpenAI} = await load("openai");
  const make = (maxRetries) => new OpenAI({baseURL: `${origin}/v1`, apiKey, maxRetries});
  const tools = [{type: "function", function: {name: "tide", parameters}}];
  const stream = async (seen, body = {}, options = {}, api = make(0)) => {
    const chunks = await api.chat.completions.create({model, messages: [ask], stream: true, ...body}, options);
    for await (const chunk of chunks) noteChunk(seen, chunk);
  };
  return {
    text: (seen) => stream(seen),
    call: (seen) => stream(seen, {tools}),
    turn: (seen) => stream(seen, {tools, messages: [ask, answerTo("reasoning_details"), result]}),
    picture: (seen) => stream(seen, {messages: [withPicture]}),
    refused: (seen) => stream(seen),
    waited: (seen) => stream(seen, {}, {}, make(2)),
    failed: (seen) => stream(seen),
    cut: (seen) => stream(seen),
    whole: async (seen) => {
      const found = await make(0).chat.completions.create({model, messages: [ask]});
      seen.text = found.choices[0].message.content;
      seen.usage = found.usage.total_tokens;
    },
    left: async (seen) => {
      const chunks = await make(0).chat.completions.create({model, messages: [ask], stream: true});
      for await (const chunk of chunks) {
        noteChunk(seen, chunk);
        if (seen.text === "abc") break;
      }
    },
  };
}

const details = [
  {type: "reasoning.text", text: "hm", format: "anthropic-claude-v1", index: 0},
  {type: "reasoning.text", signature: "sig", format: "anthropic-claude-v1", index: 0},
];
const answerTo = (name) => ({
  role: "assistant",
  content: null,
  [name]: details,
  tool_calls: [{id: "c1", type: "function", function: {name: "tide", arguments: "{}"}}],
});
const result = {role: "tool", tool_call_id: "c1", content: "high"};

async function withOpenRouter() {
  const {OpenRouter} = await load("@openrouter/sdk");
  const api = new OpenRouter({apiKey, serverURL: `${origin}/api/v1`, retryConfig: {strategy: "none"}});
  const tools = [{type: "function", function: {name: "tide", parameters}}];
  const pictured = {...withPicture, content: [withPicture.content[0], {type: "image_url", imageUrl: {url: picture}}]};
  const turn = {
    role: "assistant",
    content: null,
    reasoningDetails: details,
    toolCalls: answerTo("x").tool_calls,
  };
  const open = (body = {}) => api.chat.send({chatRequest: {model, messages: [ask], stream: true, ...body}});
  const stream = async (seen, body) => {
    for await (const chunk of await open(body)) noteChunk(seen, chunk);
  };
  return {
    text: (seen) => stream(seen),
    call: (seen) => stream(seen, {tools}),
    turn: (seen) => stream(seen, {tools, messages: [ask, turn, {role: "tool", toolCallId: "c1", content: "high"}]}),
    picture: (seen) => stream(seen, {messages: [pictured]}),
    refused: (seen) => stream(seen),
    failed: (seen) => stream(seen),
    cut: (seen) => stream(seen),
    whole: async (seen) => {
      const found = await api.chat.send({chatRequest: {model, messages: [ask], stream: false}});
      seen.text = found.choices[0].message.content;
      seen.usage = found.usage.totalTokens;
    },
    left: async (seen) => {
      for await (const chunk of await open()) {
        noteChunk(seen, chunk);
        if (seen.text === "abc") break;
      }
    },
  };
}

// -- the AI SDK --------------------------------------------------------------------------------------------------------

async function withAiSdk(chat) {
  const {generateText, isStepCount, streamText, tool, jsonSchema} = await load("ai");
  const tools = {tide: tool({inputSchema: jsonSchema(parameters), execute: () => "high"})};
  const messages = [{role: "user", content: "Why?"}];
  const run = async (seen, more = {}) => {
    const running = streamText({model: chat, messages, maxRetries: 0, onError: () => {}, ...more});
    const stream = running.fullStream ?? running.stream;
    for await (const part of stream) {
      if (part.type === "text-delta") seen.text += part.text;
      if (part.type === "reasoning-delta") seen.thinking += part.text;
      if (part.type === "file") seen.files += 1;
      if (part.type === "tool-call") seen.calls.push({name: part.toolName, arguments: JSON.stringify(part.input)});
      if (part.type === "finish-step") {
        seen.usage = part.usage.totalTokens;
        seen.cost = part.providerMetadata?.openrouter?.usage?.cost ?? part.usage.raw?.cost ?? null;
      }
      if (part.type === "error") {
        seen.status ??= part.error?.statusCode ?? null;
        seen.error = String(part.error?.message ?? JSON.stringify(part.error));
      }
      if (seen.text === "abc" && more.abortSignal) more.stop();
    }
  };
  const withFile = [{role: "user", content: [{type: "text", text: "What?"}, {type: "file", data: picture, mediaType: "image/png"}]}];
  return {
    text: (seen) => run(seen),
    call: (seen) => run(seen, {tools, stopWhen: isStepCount(2)}), // the second turn is asked for by itself
    picture: (seen) => run(seen, {messages: withFile}),
    refused: (seen) => run(seen),
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

async function withCompatible() {
  const {createOpenAICompatible} = await load("@ai-sdk/openai-compatible");
  const provider = createOpenAICompatible({name: "here", apiKey, baseURL: `${origin}/v1`, includeUsage: true});
  return withAiSdk(provider.chatModel(model));
}

async function withProvider() {
  const {createOpenRouter} = await load("@openrouter/ai-sdk-provider");
  return withAiSdk(createOpenRouter({apiKey, baseURL: `${origin}/api/v1`}).chat(model));
}

const clients = {
  openai: withOpenAi,
  "@openrouter/sdk": withOpenRouter,
  "@ai-sdk/openai-compatible": withCompatible,
  "@openrouter/ai-sdk-provider": withProvider,
};
const found = {};
for (const [question, work] of Object.entries(await clients[client]())) found[question] = await told(work);
console.log(JSON.stringify(found));
