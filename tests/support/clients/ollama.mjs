// Ollama's client for Node: asks its questions in order, and tells what it saw.
//   node ollama.mjs ORIGIN   prints one JSON object, by question
// Needs NODE_TOOLS, the folder with node_modules.
import {createRequire} from "node:module";
import {pathToFileURL} from "node:url";

const require = createRequire(`${process.env.NODE_TOOLS}/package.json`);
const {Ollama} = await import(pathToFileURL(require.resolve("ollama")));
const [host] = process.argv.slice(2);
const make = () => new Ollama({host});
const model = "acme/m";
const parameters = {type: "object", properties: {port: {type: "string"}}};
const tools = [{type: "function", function: {name: "tide", description: "", parameters}}];
const ask = {role: "user", content: "Why?"};
const told = {};

async function tell(question, work) {
  const seen = (told[question] = {text: "", thinking: "", calls: [], last: null, error: null, status: null});
  try {
    await work(seen);
  } catch (error) {
    seen.error = String(error?.message ?? error);
    seen.status = error?.status_code ?? null;
  }
}

function note(seen, part) {
  const said = part.message ?? {content: part.response, thinking: part.thinking};
  seen.text += said.content ?? "";
  seen.thinking += said.thinking ?? "";
  seen.calls.push(...(said.tool_calls ?? []));
  if (part.done) seen.last = part;
}

const chat = async (seen, more = {}, ollama = make()) => {
  for await (const part of await ollama.chat({model, messages: [ask], stream: true, ...more})) {
    note(seen, part);
    if (seen.text === "abc") ollama.abort();
  }
};

await tell("text", (seen) => chat(seen, {think: true}));
await tell("call", (seen) => chat(seen, {tools}));
await tell("turn", (seen) => {
  const call = {function: {name: "tide", arguments: {port: "a"}}};
  const messages = [ask, {role: "assistant", content: "", thinking: "hm", tool_calls: [call]}, {role: "tool", tool_name: "tide", content: "high"}];
  return chat(seen, {tools, messages});
});
await tell("picture", (seen) => chat(seen, {messages: [{...ask, images: [new Uint8Array([0x89, 0x50, 0x4e, 0x47])]}]}));
await tell("whole", async (seen) => note(seen, await make().chat({model, messages: [ask], format: "json"})));
await tell("prompt", async (seen) => {
  for await (const part of await make().generate({model, prompt: "Why?", stream: true})) note(seen, part);
});
for (const question of ["refused", "failed", "cut", "left"]) await tell(question, (seen) => chat(seen));
await tell("models", async (seen) => {
  seen.names = (await make().list()).models.map(({name}) => name);
  seen.capabilities = (await make().show({model: "sandbox/tools"})).capabilities;
  seen.version = (await make().version()).version;
  seen.loaded = (await make().ps()).models;
});
console.log(JSON.stringify(told));
