"""What a streamed token costs: this server, nginx and any other gateway side by side (`python -m tests.bench`).

One core is the server's, the other ones are the harness's: a stand-in upstream (`upstream`) and a load client
(`load`), each a process of its own on one `epoll` loop, with nothing on the path of an event but what it takes to
send, receive and time it. Needs Linux; everything stays on the loopback, is bounded in time, and is stopped by
process id.
"""
