"""In which words the sandbox is asked and answers: how a request is read, and what goes out for each piece.

speech             what a protocol is, and where an answer goes
chat               OpenRouter's chat completions
messages           Anthropic's Messages, as OpenRouter speaks it
messages_events    its events, piece by piece (pure)
messages_request   its request as one of chat completions (pure)
responses          OpenAI's Responses, as OpenRouter speaks them
responses_events   its events, piece by piece (pure)
responses_request  its request as one of chat completions (pure)
"""
