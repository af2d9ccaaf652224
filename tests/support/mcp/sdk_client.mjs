// The npm SDK as a client of the product: lists, calls with progress, aborts. Prints one JSON line.
//   node sdk_client.mjs http URL | stdio COMMAND ARGS…
import {createRequire} from "node:module";
import {pathToFileURL} from "node:url";

const require = createRequire(`${process.env.NODE_TOOLS}/package.json`);
const load = (path) => import(pathToFileURL(require.resolve(`@modelcontextprotocol/sdk/${path}`)));
const {Client} = await load("client/index.js");

async function openTransport([kind, target, ...args]) {
  if (kind === "http") {
    const {StreamableHTTPClientTransport} = await load("client/streamableHttp.js");
    return new StreamableHTTPClientTransport(new URL(target));
  }
  const {StdioClientTransport} = await load("client/stdio.js");
  return new StdioClientTransport({command: target, args, env: process.env});
}

const client = new Client({name: "test", version: "0"});
await client.connect(await openTransport(process.argv.slice(2)));
const {tools} = await client.listTools();

const answered = await client.callTool({name: "llm_chat", arguments: {prompt: "hi", model: "sandbox/reasoner"}});

const progress = []; // a call that takes longer than its time-out lives on it
const running = await client.callTool(
  {name: "llm_chat", arguments: {prompt: "hi", model: "sandbox/long", wait_s: 2.5}},
  undefined,
  {timeout: 2000, resetTimeoutOnProgress: true, onprogress: (report) => progress.push(report.progress)},
);
const stopped = await client.callTool({
  name: "llm_chat_stop",
  arguments: {stream_id: running.structuredContent.stream_id},
});

const stop = new AbortController();
let aborted = "";
await client
  .callTool({name: "llm_chat", arguments: {prompt: "hi", model: "sandbox/long"}}, undefined, {
    signal: stop.signal,
    onprogress: () => stop.abort("enough"),
  })
  .catch((error) => (aborted = String(error.message ?? error)));

let account;
do {
  account = await client.callTool({name: "account", arguments: {}});
} while (account.structuredContent.this_process.running > 0); // the test has a time limit
await client.close();
console.log(JSON.stringify({
  tools: tools.map((tool) => tool.name),
  text: answered.structuredContent.text,
  progress,
  statuses: [answered, running, stopped].map((result) => result.structuredContent.status),
  aborted,
  account: account.structuredContent.this_process,
}));
process.exit(0);
