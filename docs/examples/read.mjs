const response = await fetch(process.argv[2] ?? "http://localhost:8000/chat", {
  method: "POST",
  headers: {"Content-Type": "application/json"},
  body: JSON.stringify({message: "Why is the sky blue?"}),
});
let rest = "";
for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
  const events = (rest + text).split("\n\n");
  rest = events.pop();
  for (const event of events) {
    const [, name] = event.match(/^event: (.*)$/m) ?? [];
    if (!name) continue; // a comment
    const data = JSON.parse(event.match(/^data: (.*)$/m)[1]);
    if (name === "content") process.stdout.write(data.text);
    if (name === "error") console.error(data.type, data.error);
    if (name === "usage") console.log(`\n${data.total_cost} USD`);
  }
}
