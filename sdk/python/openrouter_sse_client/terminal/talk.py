"""Questions, one or a whole conversation of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

from openrouter_sse_client.chat import Chat
from openrouter_sse_client.client import Client
from openrouter_sse_client.errors import ChatError
from openrouter_sse_client.terminal.answering import FAILED, STOPPED, WHOLE, Answering, Outcome, usage_of
from openrouter_sse_client.terminal.asking.arguments import Order, UsageError, option_value
from openrouter_sse_client.terminal.asking.attachments import UnreadableFile, content_of
from openrouter_sse_client.terminal.asking.lines import Lines, edited
from openrouter_sse_client.terminal.conversation import Conversation, Store, Turn
from openrouter_sse_client.terminal.output import figures
from openrouter_sse_client.terminal.output.marks import in_one_line
from openrouter_sse_client.terminal.output.screen import Screen
from openrouter_sse_client.terminal.output.writers import JSONWriter, TextWriter, Writer

HELP = '''\
/model [ID]         the model; shows it without ID
/system [TEXT]      the system prompt; "/system -" takes it away
/set [KEY [VALUE]]  any field of the request; without VALUE takes it away
/clear              begin anew
/retry              ask the last question again
/cost               what this conversation cost
/edit [TEXT]        write in $EDITOR
/?                  this
/bye                leave; Ctrl-D does too
"""                 begins and ends several lines
Ctrl-C ends an answer at the server; twice leaves. A line that begins with a space is no command.'''


class Talk:
    """A conversation with the server.

    Args:
        run: does work in the program's event loop, which stands still while a person types.
    """

    def __init__(
        self,
        order: Order,
        client: Client,
        screen: Screen,
        store: Store,
        run: Callable[[Coroutine[Any, Any, Any]], Any],
    ) -> None:
        self._order = order
        self._client = client
        self._screen = screen
        self._store = store
        self._run = run
        self._conversation = self._begun()
        self._files = list(order.files)

    def once(self, question: str) -> int:
        """Asks one question; the exit code."""
        return self._ask(question).code

    def attach(self) -> int:
        """Reads a running or recent answer, from its beginning; the exit code.

        Raises:
            UsageError: no answer has such an id.
            ChatError: the server has none.
        """
        last = self._store.load()
        turn = last.turns[-1] if last is not None and last.turns else None
        if len(self._order.words) > 1:
            raise UsageError("attach takes one ID")
        stream_id = self._order.words[0] if self._order.words else self._newest(turn)
        if stream_id is None:
            raise ChatError("There is no running or recent answer.", type="not_found")
        try:
            chat = self._client.resume(stream_id)
        except ValueError as exc:
            raise UsageError(str(exc)) from exc
        if last is None or turn is None or turn.stream_id != stream_id:
            return self._read(chat, None).code
        self._conversation = last
        return self._read(chat, turn).code

    def converse(self) -> int:
        """Asks what is typed, until the person leaves; the exit code."""
        lines = Lines(self._store.folder / "history")
        self._screen.note("/? for help, Ctrl-D leaves")
        was_interrupted = False
        while True:
            try:
                text = lines.read()
            except EOFError:
                self._screen.beside("")
                return WHOLE
            except KeyboardInterrupt:
                self._screen.beside("")
                if was_interrupted:
                    return STOPPED
                was_interrupted = True
                self._screen.note("Ctrl-C again leaves, Ctrl-D too")
                continue
            was_interrupted = False
            with contextlib.suppress(KeyboardInterrupt):  # of something that is no answer, such as /cost
                if text.startswith("/"):
                    if not self._obey(text):
                        return WHOLE
                elif text.strip() and self._ask(text.strip()).is_left:
                    return STOPPED

    # -- asking -------------------------------------------------------------------------------------------------

    def _begun(self) -> Conversation:
        """A new conversation, or the last one, with what the command line says."""
        order = self._order
        found = self._store.load() if order.continues else None
        if found is None:
            if order.continues:
                self._screen.note("there is no last conversation: this is a new one")
            found = Conversation()
        found.model = order.model or found.model
        found.system = order.system or found.system
        found.options |= order.options
        return found

    def _ask(self, question: str) -> Outcome:
        self._take_unread()
        try:
            content = content_of(question, self._files)
        except UnreadableFile as exc:
            self._screen.error(str(exc))
            return Outcome(FAILED)
        self._files = []
        return self._answer(self._conversation.ask(content))

    def _answer(self, turn: Turn) -> Outcome:
        """Asks for the answer of the last turn, which is kept with its name before anything is sent."""
        body = self._conversation.body()
        chat = self._client.chat(body)
        turn.stream_id = chat.id
        self._store.save(self._conversation)
        outcome = self._read(chat, turn, is_minded=_refuses_grace)
        if outcome.error is not None and _refuses_grace(outcome.error):  # a server with a shorter limit
            del body["grace_s"]
            chat = self._client.chat(body)
            turn.stream_id = chat.id
            self._store.save(self._conversation)
            outcome = self._read(chat, turn)
        return outcome

    def _read(self, chat: Chat, turn: Turn | None, is_minded: Callable[[ChatError], bool] | None = None) -> Outcome:
        answering = Answering(chat, self._writer(), self._screen)
        outcome: Outcome = self._run(answering.run(is_minded))
        is_ended = chat.completed is not None or outcome.error is not None
        usage = None
        if self._order.shows_usage and not outcome.is_left and is_ended:
            with contextlib.suppress(KeyboardInterrupt):  # whoever will not wait for it
                usage = self._run(usage_of(self._client, chat, waits=True))
            self._screen.note(figures.of_answer(usage))
        if turn is not None:
            turn.answer = answering.message
            turn.is_read = is_ended
            turn.usage = usage or (dict(chat.usage.data) if chat.usage is not None else None)
            self._store.save(self._conversation)
        return outcome

    def _writer(self) -> Writer:
        order = self._order
        if order.is_json:
            return JSONWriter(self._screen)
        return TextWriter(
            self._screen, hides_thinking=order.hides_thinking, streams=order.streams, extracts=order.extracts
        )

    def _take_unread(self) -> None:
        """Fetches an answer that this program was killed in the middle of, so that the conversation has it."""
        turns = self._conversation.turns
        if not turns or turns[-1].is_read or turns[-1].stream_id is None:
            return
        turns[-1].is_read = True
        try:
            result = self._run(self._client.result(turns[-1].stream_id))
        except ChatError:
            self._screen.note("the last question had no answer, and the server no longer knows of it")
            return
        if result.content:
            details = {"reasoning_details": list(result.reasoning_details)} if result.reasoning_details else {}
            turns[-1].answer = {"role": "assistant", "content": result.content, **details}
            turns[-1].usage = dict(result.usage) if result.is_settled and result.usage else None

    def _newest(self, turn: Turn | None) -> str | None:
        """The answer that this person was reading last, else the caller's newest."""
        listed = self._run(self._client.chats(limit=1000))["data"]
        known = {each["stream_id"] for each in listed}
        if turn is not None and not turn.is_read and turn.stream_id in known:
            return turn.stream_id
        running = [each for each in listed if each["state"] == "running"]
        newest = (running or listed or [None])[0]
        return newest and str(newest["stream_id"])

    # -- commands -----------------------------------------------------------------------------------------------

    def _obey(self, text: str) -> bool:
        """Does what a line that begins with a slash says; False: the person leaves."""
        name, _, rest = text.strip().partition(" ")
        rest = rest.strip()
        conversation, screen = self._conversation, self._screen
        match name:
            case "/bye" | "/exit" | "/quit":
                return False
            case "/?" | "/help":
                screen.beside(HELP)
            case "/model":
                conversation.model = rest or conversation.model
                screen.note(f"model: {conversation.model or 'the default of the server'}")
            case "/system":
                conversation.system = None if rest == "-" else rest or conversation.system
                screen.note(f"system: {conversation.system or 'none'}")
            case "/set":
                self._set(rest)
            case "/clear":
                conversation.turns = []
                screen.note("a new conversation")
            case "/retry":
                turn = conversation.again()
                if turn is None:
                    screen.note("nothing was asked yet")
                else:
                    return not self._answer(turn).is_left
            case "/cost":
                self._tell_cost()
            case "/edit":
                return self._edit(rest)
            case _:
                screen.note(f"there is no {name}; /? lists what there is, a line that begins with a space is sent")
        return True

    def _set(self, rest: str) -> None:
        key, _, value = rest.partition(" ")
        if value.strip():
            self._conversation.options[key] = option_value(value.strip())
        elif key and self._conversation.options.pop(key, None) is None:
            self._screen.note(f"{key} was not set")
        told = ", ".join(f"{key} = {value!r}" for key, value in self._conversation.options.items())
        self._screen.note(told or "nothing is set")

    def _edit(self, rest: str) -> bool:
        try:
            text = edited(rest)
        except OSError as exc:
            self._screen.error(str(exc))
            return True
        if not text.strip():
            self._screen.note("nothing was written, nothing is sent")
            return True
        self._screen.beside("\n".join(f"> {in_one_line(line)}" for line in text.splitlines()))
        return not self._ask(text).is_left

    def _tell_cost(self) -> None:
        for turn in self._conversation.turns:
            if turn.usage is None and turn.stream_id is not None:
                try:
                    result = self._run(self._client.result(turn.stream_id))
                except ChatError:
                    continue
                if result.is_settled and result.usage is not None:
                    turn.usage = dict(result.usage)
        costs = [
            turn.usage.get("total_cost", turn.usage.get("cost")) for turn in self._conversation.turns if turn.usage
        ]
        known = [cost for cost in costs if isinstance(cost, int | float)]
        unknown = len(self._conversation.turns) - len(known)
        told = f"{figures.dollars(sum(known))} for {len(known)} answers" if known or not unknown else ""
        self._screen.note(", ".join(filter(None, (told, f"{unknown} of unknown cost" if unknown else ""))))


def _refuses_grace(error: ChatError) -> bool:
    """Whether the server lets no answer go on for so long."""
    return error.type == "invalid_request" and any("grace_s" in str(each.get("where")) for each in error.details)
