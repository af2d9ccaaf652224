// The client against a real server: SERVER_URL is one with the sandbox.
import assert from "node:assert/strict";
import {test} from "node:test";
import {ChatError, Client} from "../../../sdk/javascript/client.js";
import {mortalProxy} from "./scripted.mjs";

const url = process.env.SERVER_URL;
const client = new Client({baseURL: url});
const fast = {tokens_per_s: 0};
const numbers = (count) => Array.from({length: count}, (_, index) => `${index + 1} `).join("");
const long = (tokens, more = {}) => ({message: "Count", model: "sandbox/long", grace_s: 30, sandbox: {tokens, tokens_per_s: 2000, ...more}});
const state = async (id) => (await client.get("chat", {limit: 1000})).data.find((each) => each.stream_id === id);
const until = async (look) => {
  for (let found; ; await new Promise((resolve) => setTimeout(resolve, 10))) if ((found = await look())) return found;
};

test("a question, and what is known of it afterwards", async () => {
  const chat = client.chat({message: "Why?", model: "sandbox/reasoner", sandbox: fast});
  const types = new Set();
  for await (const {type, id} of chat) types.add(type) && assert.ok(id.startsWith(`${chat.id}:`));
  assert.deepEqual([...types], ["start", "reasoning", "content", "reasoning_details", "usage", "done"]);
  const result = await client.get(`chat/${chat.id}/result`);
  assert.equal(chat.content, result.content);
  assert.equal(chat.reasoning, result.reasoning);
  assert.equal(chat.usage.total_cost, result.usage.total_cost);
  assert.equal(await client.chat({message: "Why?", model: "sandbox/refuser", sandbox: fast}).text(), "");
  assert.equal((await client.chat({message: "Hi", model: "sandbox/search", sandbox: fast}).result()).annotations.length, 2);
});

test("five cuts lose nothing and double nothing", async () => {
  const proxy = await mortalProxy(new URL(url), [700, 9_000, 20_000, 40_000, 7_777]);
  const chat = new Client({baseURL: proxy.url}).chat(long(2000));
  const seen = [];
  let text = "";
  for await (const {type, data, id} of chat) {
    seen.push(Number(id.split(":")[1]));
    if (type === "content") text += data.text;
  }
  proxy.close();
  assert.deepEqual(proxy.left, []);
  assert.equal(text, numbers(2000));
  assert.deepEqual(seen, seen.map((_, index) => index + 1));
  assert.ok(chat.reconnects > 0 && chat.reconnects <= 5, "a connection that dies before its head replaced none");
});

test("a cut on purpose is resumed, also one before the head", async () => {
  const chat = client.chat({...long(50, {tokens_per_s: 500, first_token_s: 0.1})});
  setTimeout(() => chat.reconnect(), 20);
  let count = 0;
  for await (const _ of chat) if (++count === 20) chat.reconnect(10);
  assert.equal(chat.content, numbers(50));
  assert.equal(chat.reconnects, 2);
});

test("stop ends the answer: before it was asked, before the head, in the middle, between two events", async () => {
  const early = client.chat(long(10));
  await early.stop();
  for await (const _ of early) assert.fail("nothing was to be asked");
  assert.equal(early.state, "closed");

  const silent = client.chat({...long(10, {first_token_s: 60})});
  const reading = silent.text();
  await silent.stop();
  await reading;
  assert.equal(silent.finishReason, "cancelled");

  const middle = client.chat(long(100_000));
  const text = middle.text();
  await until(() => middle.content.length > 100);
  await middle.stop();
  assert.equal(middle.finishReason, "cancelled");
  assert.equal(middle.completed, false);
  assert.equal(await text, middle.content);

  const within = client.chat(long(100_000));
  for await (const {type} of within) if (type === "content") await within.stop();
  assert.equal(within.finishReason, "cancelled");
});

test("break and signal leave only: the answer runs on", async () => {
  const left = client.chat(long(100, {tokens_per_s: 400}));
  for await (const {type} of left) if (type === "content") break;
  assert.equal(left.state, "closed");
  assert.equal((await state(left.id)).state, "running");
  const again = client.resume(left.id, {lastEventId: left.lastEventId});
  assert.equal(left.content + (await again.text()), numbers(100));

  const leaving = new AbortController();
  const aborted = client.chat(long(100, {tokens_per_s: 400}), {signal: leaving.signal});
  await assert.rejects(async () => {
    for await (const {type} of aborted) if (type === "content") leaving.abort();
  }, {name: "AbortError"});
  assert.equal(await client.resume(aborted.id).text(), numbers(100));
  await assert.rejects(client.chat(long(1), {signal: AbortSignal.abort()}).text(), {name: "AbortError"});
});

test("a silent connection is a lost one", async () => {
  const chat = new Client({baseURL: url, idleTimeoutMs: 150}).chat({message: "x", model: "sandbox/stalls", grace_s: 30, sandbox: fast});
  const reading = chat.text();
  await until(() => chat.reconnects >= 2);
  await chat.stop();
  await reading;
  assert.equal(chat.content, "1 2 3 4 5 6 7 8 ");
});

test("refusals are told before the first event", async () => {
  await assert.rejects(client.chat({message: "x", model: "sandbox/no-credits"}).text(), {type: "insufficient_credits", status: 402});
  await assert.rejects(client.chat({}).text(), (error) => error instanceof ChatError && error.details.length > 0);
  await assert.rejects(client.resume("no-such-stream").text(), {type: "not_found"});
  await assert.rejects(client.chat({message: "x", model: "sandbox/breaks", sandbox: fast}).text(), {type: "upstream_unavailable"});
  const away = new Client({baseURL: "http://127.0.0.1:9", maxRetries: 1});
  await assert.rejects(away.chat("x").text(), {type: "connection_lost"});
});

test("models and what was spent", async () => {
  assert.equal((await client.models.search({q: "reasoner", free_only: undefined})).data[0].id, "sandbox/reasoner");
  assert.equal((await client.models.get("sandbox/echo")).data.id, "sandbox/echo");
  assert.ok((await client.usage()).total_cost_usd > 0);
});

test("a thousand at once leave nothing behind", async () => {
  const before = process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
  const signal = new AbortController();
  const ask = (sandbox, options) => client.chat({message: "x", model: "sandbox/long", grace_s: 0, sandbox}, options);
  const ways = [
    async () => assert.equal(await ask({tokens: 20, tokens_per_s: 0}).text(), numbers(20)),
    async () => {
      const chat = ask({tokens: 1e6, tokens_per_s: 5});
      for await (const {type} of chat) if (type === "content") await chat.stop();
    },
    async () => {
      for await (const {type} of ask({tokens: 1e6, tokens_per_s: 5})) if (type === "content") break;
    },
    async () => {
      const leaving = new AbortController();
      await assert.rejects(async () => {
        for await (const {type} of ask({tokens: 1e6, tokens_per_s: 5}, {signal: AbortSignal.any([signal.signal, leaving.signal])}))
          if (type === "content") leaving.abort();
      });
    },
  ];
  await Promise.all(Array.from({length: 1000}, (_, index) => ways[index % ways.length]()));
  await until(async () => Object.values((await client.get("health")).streams).slice(0, 2).every((count) => count === 0));
  assert.ok(process.getActiveResourcesInfo().filter((name) => name === "Timeout").length <= before + 1);
});
