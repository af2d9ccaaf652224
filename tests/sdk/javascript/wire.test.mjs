// The shared table: sdk/wire_cases.json.
import assert from "node:assert/strict";
import {readFileSync} from "node:fs";
import {test} from "node:test";
import {ChatError, Client, SSEDecoder} from "../../../sdk/javascript/client.js";
import {serveReplies} from "./scripted.mjs";

const table = JSON.parse(readFileSync(new URL("../../../sdk/wire_cases.json", import.meta.url)));

/** By chance, the same in every run: a number below this one. */
let seed = 11;
const below = (count) => ((seed = (seed * 1103515245 + 12345) % 2 ** 31) >> 8) % count;

const decoded = async (bytes, cuts) => {
  const pieces = cuts.map((cut, index) => bytes.subarray(index ? cuts[index - 1] : 0, cut)).concat([bytes.subarray(cuts.at(-1) ?? 0)]);
  const stream = new ReadableStream({
    start: (controller) => {
      for (const piece of pieces) if (piece.length) controller.enqueue(piece);
      controller.close();
    },
  });
  const decoder = new SSEDecoder();
  const events = [];
  for await (const text of stream.pipeThrough(new TextDecoderStream())) events.push(...decoder.feed(text));
  return events;
};

for (const {name, body, events} of table.decoding) {
  test(`decoding: ${name}`, async () => {
    const bytes = new TextEncoder().encode(body);
    assert.deepEqual(await decoded(bytes, []), events);
    assert.deepEqual(await decoded(bytes, [...bytes.keys()].slice(1)), events, "byte by byte");
    const places = bytes.length < 2000 ? [...bytes.keys()].slice(1) : Array.from({length: 200}, () => 1 + below(bytes.length - 1));
    for (const cut of places) assert.deepEqual(await decoded(bytes, [cut]), events, `cut at ${cut}`);
    for (let times = 0; times < 60; times++) {
      const cuts = Array.from({length: 1 + below(8)}, () => below(bytes.length)).sort((a, b) => a - b);
      assert.deepEqual(await decoded(bytes, cuts), events, `cut at ${cuts}`);
    }
  });
}

test("decoding: any bytes are the same events at any cuts", async () => {
  const parts = ["data: x", "data", "\n", "\r", "\r\n", "\ufeff", ":", "id: 1", "id: \0", "event", "event: a", " ", "ü🌦️"].map((text) => [...new TextEncoder().encode(text)]);
  for (let times = 0; times < 400; times++) {
    const bytes = Uint8Array.from(Array.from({length: below(12)}, () => (below(8) ? parts[below(parts.length)] : [below(256), below(256)])).flat());
    const whole = await decoded(bytes, []);
    const cuts = Array.from({length: below(6)}, () => below(bytes.length + 1)).sort((a, b) => a - b);
    assert.deepEqual(await decoded(bytes, cuts), whole, `${bytes} at ${cuts}`);
  }
});

const play = async (wire, size) => {
  const server = await serveReplies(wire.replies, size);
  const client = new Client({baseURL: server.url, maxRetries: wire.max_retries ?? 8});
  const chat = wire.resume
    ? client.resume(wire.resume.id, {lastEventId: wire.resume.last_event_id})
    : client.chat({message: "Why?"}, {idempotencyKey: table.key});
  const events = [];
  let raised = null;
  try {
    for await (const event of chat) events.push(event);
  } catch (error) {
    raised = error;
  }
  server.close();
  assert.deepEqual(events, wire.events);
  assert.equal(server.requests.length, wire.requests.length);
  for (const [index, wanted] of wire.requests.entries()) {
    const asked = server.requests[index];
    assert.deepEqual([asked.method, asked.path], [wanted.method, wanted.path]);
    for (const [header, value] of Object.entries(wanted.headers)) assert.equal(asked.headers[header.toLowerCase()] ?? null, value);
    if (asked.method === "POST") assert.deepEqual(JSON.parse(asked.body), {message: "Why?"});
  }
  if (wire.raises) {
    assert.ok(raised instanceof ChatError, String(raised));
    for (const [field, value] of Object.entries(wire.raises)) assert.deepEqual(raised[field], value);
  } else if (raised) throw raised;
  const found = {content: chat.content, reasoning: chat.reasoning, finish_reason: chat.finishReason, completed: chat.completed, error: chat.error};
  for (const [field, value] of Object.entries(wire.result ?? {})) assert.deepEqual(found[field], value, field);
  assert.equal(chat.reconnects, wire.reconnects ?? 0);
  assert.equal(chat.state, "closed");
};

// all at once, since some wait between two connections
for (const [told, size] of [["whole", Infinity], ["byte by byte", 1]]) {
  const playing = table.chats.map((wire) => play(wire, size).then(() => null, (error) => error));
  for (const [index, {name}] of table.chats.entries()) {
    test(`chats, ${told}: ${name}`, async () => {
      const error = await playing[index];
      if (error) throw error;
    });
  }
}
