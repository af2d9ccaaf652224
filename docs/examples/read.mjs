const response = await fetch(process.argv[2] ?? "http://localhost:8000/chat", {
  method: "POST",
  headers: {"Content-Type": "application/json"},
  body: JSON.stringify({message: "Why is the sky blue?"}),
});
const reader = response.body.pipeThrough(new TextDecoderStream()).getReader(); // not every browser knows `for await` of it
let rest = "";
for (let part; !(part = await reader.read()).done; ) {
  const events = (rest + part.value).split("\n\n");
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
