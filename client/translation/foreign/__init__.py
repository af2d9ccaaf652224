"""Other protocols in which upstream answers: their events as chunks of chat completions, one after another.

fronts       which there are
front        what a front is
messages     Anthropic's Messages
responses    OpenAI's Responses
translator   a translator that reads through a front
records      a log of such events as one of chunks

The rule by which a chunk is read, and how an answer may end, stay those of chat completions.
"""
