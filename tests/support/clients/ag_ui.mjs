// Clients from npm that speak AG-UI: each asks the same questions in the same order, and tells what it saw.
//   node ag_ui.mjs CLIENT ORIGIN RELAY   prints one JSON object, by question; RELAY leads to ORIGIN and resets
// Needs NODE_TOOLS, the folder with node_modules.
import {createRequire} from "node:module";
import {pathToFileURL} from "node:url";

const require = createRequire(`${process.env.NODE_TOOLS}/package.json`);
const load = (name) => import(pathToFileURL(require.resolve(name)));
const loadModule = (name, file) => import(pathToFileURL(`${process.env.NODE_TOOLS}/node_modules/${name}/${file}`));
const [client, origin, relay] = process.argv.slice(2);
const model = "acme/m";
const parameters = {type: "object", properties: {port: {type: "string"}}};
const picture = {type: "image", source: {type: "data", value: "iVBORw0KGgo=", mimeType: "image/png"}};

async function stopNewest() {
  const {data} = await (await fetch(`${origin}/chat`)).json();
  await fetch(`${origin}/chat/${data[0].stream_id}`, {method: "DELETE"});
}

// -- the protocol's own client -------------------------------------------------------------------------------------

async function withAgUi() {
  const {HttpAgent} = await load("@ag-ui/client");
  const tools = [{name: "tide", description: "How high it is", parameters}];
  const make = () => new HttpAgent({url: `${origin}/ag-ui`, initialMessages: [{id: "u1", role: "user", content: "Why?"}]});
  const run = async (agent, seen, onText = () => {}) => {
    const told = await agent.runAgent({forwardedProps: {model}, tools}, {
      onEvent: ({event}) => void seen.events.push(event.type),
      onTextMessageContentEvent: ({event}) => {
        seen.text += event.delta;
        onText(seen.text);
      },
      onReasoningMessageContentEvent: ({event}) => void (seen.thinking += event.delta),
      onToolCallEndEvent: ({toolCallName, toolCallArgs}) =>
        void seen.calls.push({name: toolCallName, arguments: JSON.stringify(toolCallArgs)}),
      onCustomEvent: ({event}) => void (seen.custom[event.name] = event.value),
      onRunFinishedEvent: ({event}) => void Object.assign(seen, {outcome: event.outcome, usage: event.usage}),
      onRunErrorEvent: ({event}) => void Object.assign(seen, {error: event.message, code: event.code}),
    });
    seen.result = told.result;
  };
  const agent = make();
  const answered = async (seen) => {
    const call = agent.messages.flatMap((each) => each.toolCalls ?? [])[0];
    agent.addMessage({id: "r1", role: "tool", toolCallId: call.id, content: "high"});
    await run(agent, seen);
  };
  const pictured = async (seen) => {
    const asks = make();
    asks.setMessages([{id: "u1", role: "user", content: [{type: "text", text: "What?"}, picture]}]);
    await run(asks, seen);
  };
  return {
    text: (seen) => run(make(), seen),
    call: (seen) => run(agent, seen),
    turn: answered,
    picture: pictured,
    refused: (seen) => run(make(), seen),
    failed: (seen) => run(make(), seen),
    cut: (seen) => run(make(), seen),
    short: (seen) => run(make(), seen),
    stopped: (seen) => run(make(), seen, (text) => text === "abc" && stopNewest()),
    left: async (seen) => {
      const leaving = make();
      await run(leaving, seen, (text) => text === "abc" && leaving.abortRun());
    },
  };
}

// -- TanStack AI ---------------------------------------------------------------------------------------------------

async function withTanStack() {
  const {ChatClient, fetchServerSentEvents} = await loadModule("@tanstack/ai-client", "dist/esm/index.js");
  const {toolDefinition} = await loadModule("@tanstack/ai", "dist/esm/client.js");
  const tide = toolDefinition({name: "tide", description: "How high it is", inputSchema: parameters});
  const reconnect = {delayMs: 1};
  const make = (seen, base = origin, more = {}) =>
    new ChatClient({
      connection: fetchServerSentEvents(`${base}/ag-ui`, {reconnect}),
      forwardedProps: {model},
      tools: [tide.client((input) => (seen.calls.push({name: "tide", arguments: JSON.stringify(input)}), "high"))],
      onChunk: (chunk) => {
        seen.events.push(chunk.type);
        if (chunk.type === "RUN_FINISHED") Object.assign(seen, {outcome: chunk.outcome, usage: chunk.usage});
      },
      onCustomEvent: (name, value) => void (seen.custom[name] = value),
      onError: (error) => void Object.assign(seen, {error: error.message, code: error.code}),
      ...more,
    });
  const ended = (talk) => new Promise((done) => {
    const look = () => (talk.getIsLoading() ? setTimeout(look, 5) : done());
    setTimeout(look, 5);
  });
  const ask = async (seen, question = "Why?", base = origin, more = {}) => {
    const talk = make(seen, base, more);
    await talk.sendMessage(question);
    await ended(talk);
    const parts = talk.getMessages().filter(({role}) => role === "assistant").flatMap((each) => each.parts);
    const joined = (type) => parts.filter((part) => part.type === type).map((part) => part.content).join("");
    Object.assign(seen, {text: joined("text"), thinking: joined("thinking")});
    talk.dispose();
  };
  const until = (text, act) => ({
    onMessagesChange: (messages) => {
      const said = messages.at(-1)?.parts.map((part) => part.content).join("");
      if (said === text) act();
    },
  });
  const joined = async (seen, runId) => {
    const connection = fetchServerSentEvents(`${relay}/ag-ui`, {reconnect});
    for await (const chunk of connection.joinRun(runId, new AbortController().signal)) {
      seen.events.push(chunk.type);
      if (chunk.type === "TEXT_MESSAGE_CONTENT") seen.text += chunk.delta;
    }
  };
  let runId;
  return {
    text: (seen) => ask(seen),
    call: (seen) => ask(seen), // the second turn is asked for by itself
    picture: (seen) => ask(seen, {content: [{type: "text", content: "What?"}, picture]}),
    refused: (seen) => ask(seen),
    failed: (seen) => ask(seen),
    cut: (seen) => ask(seen),
    short: (seen) => ask(seen),
    stopped: (seen) => ask(seen, "Why?", origin, until("abc", () => void stopNewest())),
    relayed: (seen) => ask(seen, "Why?", relay, {onRunIdChange: (id) => void (runId = id ?? runId)}),
    joined: (seen) => joined(seen, runId),
    left: async (seen) => {
      const talk = make(seen, origin, until("abc", () => talk.stop()));
      await talk.sendMessage("Why?");
      talk.dispose();
    },
  };
}

const clients = {"@ag-ui/client": withAgUi, "@tanstack/ai-client": withTanStack};
const found = {};
for (const [question, work] of Object.entries(await clients[client]())) {
  const seen = {text: "", thinking: "", calls: [], events: [], custom: {}, outcome: null, usage: null, error: null};
  try {
    await work(seen);
  } catch (error) {
    Object.assign(seen, {error: String(error?.message ?? error), status: error?.status ?? null});
  }
  found[question] = seen;
}
console.log(JSON.stringify(found));
process.exit(0);
