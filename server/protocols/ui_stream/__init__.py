"""The message stream of the AI SDK: what `useChat` asks and reads, and the text stream beside it."""
