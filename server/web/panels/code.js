// A request as code that runs as it is. A token is a variable there, never its value.

import {ask, button, copy, fill, h} from "../lib/dom.js";
import {token} from "../lib/store.js";

/** For a shell: nothing in it means anything. @param {string} text */
export const shellQuoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** JSON that is also a literal of Python, without letters that shells or terminals could take for something. @param {any} value */
const ascii = (value) => JSON.stringify(value).replace(/[\u007f-\uffff]/g, (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** @param {string} text as a string literal of Python */
const pythonQuoted = (text) => ascii(text);

const LANGUAGES = {
  curl: (body, url, hasToken) =>
    [`curl -N ${shellQuoted(`${url}chat`)}`, "-H 'Content-Type: application/json'", ...(hasToken ? ['-H "Authorization: Bearer $SERVER_TOKEN"'] : []), "--data-binary @- <<'JSON'"].join(" \\\n  ") + `\n${ascii(body)}\nJSON\n`,
  Python: (body, url, hasToken) => `import json
import os
import urllib.request

body = json.loads(${pythonQuoted(JSON.stringify(body))})
headers = {"Content-Type": "application/json"${hasToken ? ', "Authorization": "Bearer " + os.environ["SERVER_TOKEN"]' : ""}}
request = urllib.request.Request(${pythonQuoted(`${url}chat`)}, json.dumps(body).encode(), headers)
with urllib.request.urlopen(request) as response:
    event = ""
    for line in response:
        field, _, value = line.decode().rstrip("\\n").partition(": ")
        if field == "event":
            event = value
        elif field == "data" and event == "content":
            print(json.loads(value)["text"], end="", flush=True)
print()
`,
  JavaScript: (body, url, hasToken) => `// installed it is: import {Client} from "openrouter-sse-client";
const source = await (await fetch(${ascii(`${url}client.js`)})).text();
const {Client} = await import(\`data:text/javascript,\${encodeURIComponent(source)}\`);

const client = new Client({baseURL: ${ascii(url)}${hasToken ? ", token: globalThis.process?.env.SERVER_TOKEN" : ""}});
const chat = client.chat(${ascii(body)});
for await (const {type, data} of chat) if (type === "content") console.log(data.text);
`,
  "JavaScript, fetch alone": (body, url, hasToken) => `const response = await fetch(${ascii(`${url}chat`)}, {
  method: "POST",
  headers: {"Content-Type": "application/json"${hasToken ? ", Authorization: `Bearer ${globalThis.process?.env.SERVER_TOKEN}`" : ""}},
  body: JSON.stringify(${ascii(body)}),
});
const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
let rest = "";
for (let part; !(part = await reader.read()).done; ) {
  const events = (rest + part.value).split("\\n\\n");
  rest = events.pop();
  for (const event of events) {
    if (/^event: content$/m.test(event)) console.log(JSON.parse(event.match(/^data: (.*)$/m)[1]).text);
  }
}
`,
};

/** @param {any} body @param {string} url of the server, with a slash at its end @param {boolean} hasToken */
export const codeOf = (body, url, hasToken) => Object.fromEntries(Object.entries(LANGUAGES).map(([name, make]) => [name, make(body, url, hasToken)]));

/** @param {any} app @param {any} body @param {string} url */
export const openCode = (app, body, url) =>
  ask("The same request as code", () => {
    const codes = codeOf(body, url, Boolean(token.get()));
    const pre = h("pre", {class: "code", tabIndex: 0, role: "region", "aria-label": "Code"});
    let name = "curl";
    const choose = h("select", {"aria-label": "Language", onChange: () => show(choose.value)}, Object.keys(codes).map((each) => h("option", {value: each}, each)));
    const show = (wanted) => {
      name = wanted;
      const text = codes[name];
      fill(pre, h("code", {}, text.length > 20_000 ? `${text.slice(0, 20_000)}\n… (the copy is whole)` : text));
    };
    show(name);
    return [h("p", {class: "row"}, choose, button("Copy", () => copy(codes[name], name), {class: "main"})), pre];
  }, "wide");
