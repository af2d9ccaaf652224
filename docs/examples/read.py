import asyncio
import json
import sys

import aiohttp


async def main(url: str = "http://localhost:8000/chat") -> None:
    async with aiohttp.ClientSession(read_bufsize=2**24) as session:
        async with session.post(url, json={"message": "Why is the sky blue?"}) as response:
            name = ""
            async for line in response.content:
                field, _, value = line.decode().rstrip("\n").partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    data = json.loads(value)
                    if name == "content":
                        print(data["text"], end="", flush=True)
                    elif name == "error":
                        print(data["type"], data["error"], file=sys.stderr)
                    elif name == "usage":
                        print(f"\n{data['total_cost']} USD")


asyncio.run(main(*sys.argv[1:]))
