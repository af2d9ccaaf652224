// Clients from npm that speak Responses: each asks the same questions in the same order, and tells what it saw.
//   node responses.mjs ORIGIN RELAY   prints one JSON object, by client and question; RELAY cuts connections
// Needs NODE_TOOLS, the folder with node_modules.
import {createRequire} from "node:module";
import {pathToFileURL} from "node:url";

const require = createRequire(`${process.env.NODE_TOOLS}/package.json`);
const load = (name) => import(pathToFileURL(require.resolve(name)));
const [origin, relay] = process.argv.slice(2);
const model = "acme/m";
const apiKey = "none";
const parameters = {type: "object", properties: {port: {type: "string"}}};
const picture = "data:image/png;base64,iVBORw0KGgo=";

async function told(work) {
  const seen = {text: "", thinking: "", calls: [], files: 0, usage: null, cost: null, error: null, finish: null};
  try {
    await work(seen);
  } catch (error) {
    seen.error = String(error?.message ?? error);
    seen.status = error?.status ?? error?.statusCode ?? null;
  }
  return seen;
}

// -- OpenAI's own ------------------------------------------------------------------------------------------------------

function note(seen, event) {
  seen.numbers = [...(seen.numbers ?? []), event.sequence_number];
  if (event.type === "response.output_text.delta") seen.text += event.delta;
  if (event.type === "response.reasoning_summary_text.delta") seen.thinking += event.delta;
  if (event.type === "response.output_item.done") seen.items = [...(seen.items ?? []), event.item];
  if (event.type === "response.failed") seen.error = event.response.error.message;
  if (event.response) {
    seen.id = event.response.id;
    seen.finish = event.response.status;
    seen.usage = event.response.usage?.total_tokens ?? null;
    seen.cost = event.response.usage?.cost ?? null;
  }
}

async function withOpenAi() {
  const {default: OpenAI} = await load("openai");
  const api = new OpenAI({baseURL: `${origin}/v1`, apiKey, maxRetries: 0});
  const tools = [{type: "function", name: "tide", parameters, strict: false}];
  const ask = {role: "user", content: "Why?"};
  const read = async (seen, body) => {
    for await (const event of await api.responses.create({model, input: "Why?", stream: true, ...body})) note(seen, event);
  };
  let turn;
  return {
    text: (seen) => read(seen),
    call: async (seen) => {
      const stream = api.responses.stream({model, input: [ask], tools});
      for await (const event of stream) note(seen, event);
      turn = (await stream.finalResponse()).output;
      seen.calls = turn.filter((item) => item.type === "function_call");
    },
    turn: (seen) => {
      const result = {type: "function_call_output", call_id: "c1", output: "high"};
      return read(seen, {input: [ask, ...turn, result], tools});
    },
    picture: (seen) =>
      read(seen, {input: [{role: "user", content: [{type: "input_image", image_url: picture, detail: "auto"}]}]}),
    refused: (seen) => read(seen),
    failed: (seen) => read(seen),
    cut: (seen) => read(seen),
    whole: async (seen) => {
      const found = await api.responses.create({model, input: "Why?"});
      seen.text = found.output_text;
      seen.usage = found.usage.total_tokens;
      seen.cost = found.usage.cost;
    },
    left: async (seen) => {
      for await (const event of await api.responses.create({model, input: "Why?", stream: true})) {
        note(seen, event);
        if (seen.text === "abc") break;
      }
    },
    resumed: async (seen) => {
      const far = new OpenAI({baseURL: `${relay}/v1`, apiKey, maxRetries: 0});
      let events = await far.responses.create({model, input: "Why?", stream: true, background: true, store: true});
      for (seen.tries = 1; seen.finish !== "completed" && seen.tries < 30; seen.tries += 1) {
        try {
          for await (const event of events) note(seen, event);
        } catch {
          // the relay has cut the connection
        }
        if (seen.finish === "completed") return;
        try {
          events = await far.responses.retrieve(seen.id, {stream: true, starting_after: seen.numbers.at(-1)});
        } catch {
          events = []; // so early that not even the head came
        }
      }
    },
    stopped: async (seen) => {
      const begun = await api.responses.create({model, input: "Why?", background: true});
      seen.id = begun.id;
      while ((await api.responses.retrieve(begun.id)).output_text !== "ab") continue;
      seen.finish = (await api.responses.cancel(begun.id)).status;
      seen.text = (await api.responses.retrieve(begun.id)).output_text;
      await api.responses.delete(begun.id);
      await api.responses.retrieve(begun.id);
    },
  };
}

// -- the AI SDK --------------------------------------------------------------------------------------------------------

async function withAiSdk() {
  const {createOpenAI} = await load("@ai-sdk/openai");
  const {generateText, isStepCount, streamText, tool, jsonSchema} = await load("ai");
  const chat = createOpenAI({apiKey, baseURL: `${origin}/v1`}).responses(model);
  const tools = {tide: tool({inputSchema: jsonSchema(parameters), execute: () => "high"})};
  const messages = [{role: "user", content: "Why?"}];
  const run = async (seen, more = {}) => {
    const running = streamText({model: chat, messages, maxRetries: 0, onError: () => {}, ...more});
    for await (const part of running.fullStream ?? running.stream) {
      if (part.type === "text-delta") seen.text += part.text;
      if (part.type === "reasoning-delta") seen.thinking += part.text;
      if (part.type === "tool-call") seen.calls.push({name: part.toolName, arguments: JSON.stringify(part.input)});
      if (part.type === "finish-step") {
        seen.usage = part.usage.totalTokens;
        seen.finish = part.finishReason;
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
    unstored: (seen) => run(seen, {tools, stopWhen: isStepCount(2), providerOptions: {openai: {store: false}}}),
    picture: (seen) => run(seen, {messages: withFile}),
    refused: (seen) => run(seen),
    failed: (seen) => run(seen),
    cut: (seen) => run(seen),
    short: (seen) => run(seen, {tools}),
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

const found = {};
for (const [client, make] of Object.entries({openai: withOpenAi, "@ai-sdk/openai": withAiSdk})) {
  found[client] = {};
  for (const [question, work] of Object.entries(await make())) found[client][question] = await told(work);
}
console.log(JSON.stringify(found));
