// OpenAI's client from npm, before a sandbox: embeddings, and the older completions.
//   node embeddings.mjs BASE_URL   prints what it saw as one JSON object
// Needs NODE_TOOLS, the folder with node_modules.
import {createRequire} from "node:module";
import {pathToFileURL} from "node:url";

const require = createRequire(`${process.env.NODE_TOOLS}/package.json`);
const {default: OpenAI} = await import(pathToFileURL(require.resolve("openai")));
const client = new OpenAI({baseURL: process.argv[2], apiKey: "none", maxRetries: 0});

const {data, usage} = await client.embeddings.create({model: "sandbox/embedder", input: ["a", "b"]});
const asked = {model: "sandbox/long", prompt: "Why?", max_tokens: 3};
const whole = await client.completions.create(asked);
let streamed = "";
for await (const chunk of await client.completions.create({...asked, stream: true})) {
  streamed += chunk.choices[0]?.text ?? "";
}
console.log(JSON.stringify({sizes: data.map((each) => each.embedding.length), usage, whole, streamed}));
