// The shared table: sdk/wire_cases.json.
import assert from "node:assert/strict";
import {readFileSync} from "node:fs";
import {test} from "node:test";
import {ChatError, Client, SSEDecoder} from "../../../sdk/javascript/client.js";
import {serveReplies} from "./scripted.mjs";

const table = JSON.parse(readFileSync(new URL("../../../sdk/wire_cases.json", import.meta.url)));

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
    for (let cut = 1; cut < Math.min(bytes.length, 120); cut++) assert.deepEqual(await decoded(bytes, [cut]), events, `cut at ${cut}`);
  });
}

test("chats", {concurrency: true}, async (t) => {
  await Promise.all(
    table.chats.map((wire) =>
      t.test(wire.name, async () => {
        const server = await serveReplies(wire.replies);
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
      }),
    ),
  );
});
