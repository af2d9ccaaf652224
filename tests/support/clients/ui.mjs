// The AI SDK's chat, as useChat runs it: every version asks the same questions in the same order, and tells what it saw.
//   node ui.mjs ORIGIN   prints one JSON object, by version and question
// Needs NODE_TOOLS, the folder with node_modules.
import {createRequire} from "node:module";
import {pathToFileURL} from "node:url";

const require = createRequire(`${process.env.NODE_TOOLS}/package.json`);
const load = (name) => import(pathToFileURL(require.resolve(name)));
const [origin] = process.argv.slice(2);
const api = `${origin}/api/chat`;
const body = {model: "acme/m"};
const picture = {type: "file", mediaType: "image/png", url: "data:image/png;base64,iVBORw0KGgo="};

class State {
  status = "ready";
  error = undefined;
  messages = [];
  pushMessage = (message) => (this.messages = [...this.messages, message]);
  popMessage = () => (this.messages = this.messages.slice(0, -1));
  replaceMessage = (index, message) => (this.messages = this.messages.with(index, message));
  snapshot = (thing) => structuredClone(thing);
}

async function versions() {
  const plain = async (name) => {
    const sdk = await load(name);
    return {sdk, Chat: class extends sdk.AbstractChat { constructor(init) { const state = new State(); state.messages = init.messages ?? []; super({...init, state}); } }};
  };
  const {Chat} = await load("@ai-sdk/react");
  return {5: await plain("ai5"), 6: await plain("ai6"), 7: await plain("ai"), react: {sdk: await load("ai"), Chat}};
}

function seen(chat) {
  const parts = chat.messages.filter(({role}) => role === "assistant").flatMap(({parts}) => parts);
  const text = (kind) => parts.filter(({type}) => type === kind).map((part) => part.text).join("");
  return {
    status: chat.status,
    error: chat.error?.message ?? null,
    text: text("text"),
    thinking: text("reasoning"),
    tools: parts.filter(({type}) => type.startsWith("tool-")).map(({type, state, input}) => ({type, state, input: input ?? null})),
    files: parts.filter(({type}) => type === "file").length,
    sources: parts.filter(({type}) => type === "source-url").length,
    busy: parts.filter(({state}) => state === "streaming" || state === "input-streaming").length,
    assistants: chat.messages.filter(({role}) => role === "assistant").map(({id, metadata}) => ({id, metadata})),
  };
}

const until = async (condition) => {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
};

async function asked({sdk, Chat}, name) {
  const {DefaultChatTransport, TextStreamChatTransport, lastAssistantMessageIsCompleteWithToolCalls} = sdk;
  const transport = new DefaultChatTransport({api, body});
  const id = (question) => `${name}-${question}`;
  const make = (question, more = {}) => new Chat({id: id(question), transport, ...more});
  const found = {};
  const simple = async (question, message = {text: "Why?"}, more = {}) => {
    const chat = make(question, more);
    await chat.sendMessage(message);
    found[question] = seen(chat);
    return chat;
  };

  const chat = await simple("text");
  await chat.sendMessage({text: "And?"});
  found.again = seen(chat);
  const calling = make("call", {
    sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithToolCalls,
    onToolCall: ({toolCall}) => {
      calling.addToolResult({tool: toolCall.toolName, toolCallId: toolCall.toolCallId, output: {tide: "high"}});
    },
  });
  await calling.sendMessage({text: "Tide?"});
  await until(() => seen(calling).text.endsWith("High.") && calling.status === "ready");
  found.call = seen(calling);
  await simple("picture", {text: "What is it?", files: [picture]});
  await simple("odd");
  for (const question of ["refused", "failed", "cut"]) await simple(question);

  const stopped = make("stopped");
  const stopping = stopped.sendMessage({text: "Why?"});
  await until(() => seen(stopped).text === "Hel");
  await fetch(`${api}/${id("stopped")}/stop`, {method: "POST"});
  await stopping;
  found.stopped = seen(stopped);

  const first = make("resumed");
  const leaving = first.sendMessage({text: "Why?"});
  await until(() => seen(first).text === "Hel");
  await first.stop();
  await leaving;
  const second = make("resumed", {messages: first.messages.slice(0, 1)});
  const resuming = second.resumeStream();
  await until(() => seen(second).text === "Hel");
  await simple("release");
  await resuming;
  found.resumed = seen(second);
  const third = make("resumed", {messages: second.messages});
  await third.resumeStream();
  found.ended = seen(third);

  await simple("plain", {text: "Why?"}, {transport: new TextStreamChatTransport({api: `${api}/text`, body})});
  await simple("plain_cut", {text: "Why?"}, {transport: new TextStreamChatTransport({api, body, headers: {accept: "text/plain"}})});
  return found;
}

const told = {};
for (const [name, version] of Object.entries(await versions())) {
  told[name] = await asked(version, name);
}
console.log(JSON.stringify(told));
process.exit(0);
