// A server that gives one scripted reply after another, in pieces of so many bytes, and notes what it was asked.
import http from "node:http";

/** Each piece is sent before the next is written. */
const send = async (response, body, size) => {
  const bytes = Buffer.from(body ?? "");
  for (let at = 0; at < bytes.length; at += size) {
    await new Promise((resolve) => response.write(bytes.subarray(at, at + size), resolve));
    if (size < bytes.length) await new Promise((resolve) => setImmediate(resolve));
  }
};

export const serveReplies = async (replies, size = Infinity) => {
  const requests = [];
  const server = http.createServer(async (request, response) => {
    let body = "";
    for await (const piece of request) body += piece;
    const reply = replies[requests.length];
    requests.push({method: request.method, path: request.url, headers: request.headers, body});
    if (!reply?.status) return void request.socket.destroy();
    response.writeHead(reply.status, {...reply.headers, Connection: "close"});
    response.flushHeaders();
    await send(response, reply.body, size);
    if (reply.end === "cut") setImmediate(() => request.socket.destroy());
    else response.end();
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {requests, url: `http://127.0.0.1:${server.address().port}`, close: () => server.close()};
};

// A TCP proxy whose connections die after so many bytes of answers, one life after the other.
import net from "node:net";

export const mortalProxy = async (target, lives) => {
  const left = [...lives];
  const server = net.createServer((down) => {
    const up = net.connect(Number(target.port), target.hostname);
    let passed = 0;
    let isDying = false; // the last piece may take a while, and nothing may follow it
    const end = () => (down.destroy(), up.destroy());
    for (const side of [down, up]) side.on("error", end).on("close", end);
    down.pipe(up);
    up.on("data", (data) => {
      if (isDying) return;
      passed += data.length;
      if (left.length && passed >= left[0]) {
        isDying = true;
        const keep = data.length - (passed - left.shift());
        down.write(data.subarray(0, Math.max(0, keep)), end);
      } else down.write(data);
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {url: `http://127.0.0.1:${server.address().port}`, left, close: () => server.close()};
};
