// A server that gives one scripted reply after another, and notes what it was asked.
import http from "node:http";

export const serveReplies = async (replies) => {
  const requests = [];
  const server = http.createServer(async (request, response) => {
    let body = "";
    for await (const piece of request) body += piece;
    const reply = replies[requests.length];
    requests.push({method: request.method, path: request.url, headers: request.headers, body});
    if (!reply?.status) return void request.socket.destroy();
    response.writeHead(reply.status, {...reply.headers, Connection: "close"});
    if (reply.end !== "cut") return void response.end(reply.body);
    response.flushHeaders();
    response.write(reply.body || "", () => setImmediate(() => request.socket.destroy()));
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
    const end = () => (down.destroy(), up.destroy());
    for (const side of [down, up]) side.on("error", end).on("close", end);
    down.pipe(up);
    up.on("data", (data) => {
      passed += data.length;
      if (left.length && passed >= left[0]) {
        const keep = data.length - (passed - left.shift());
        down.write(data.subarray(0, Math.max(0, keep)), end);
      } else down.write(data);
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {url: `http://127.0.0.1:${server.address().port}`, left, close: () => server.close()};
};
