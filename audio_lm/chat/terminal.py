"""A conversation in the terminal, or from lines of a script.

A line is a message, or a command that starts with ``/``. Answers are written to the output as they are generated; everything
else goes to the messages, so that a script reads answers alone.
"""

import shlex
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TextIO

from rich.console import Console

from audio_lm.chat.conversation import Conversation
from audio_lm.chat.microphone import Microphone
from audio_lm.common.errors import UserError, unknown

HELP = {
    "/audio FILE ...": "add clips to the next message",
    "/record [SECONDS]": "add a clip from the microphone, until Enter",
    "/send": "send the clips alone: the question is spoken",
    "/regenerate": "answer the last message again",
    "/save FOLDER": "write the conversation and its clips",
    "/reset": "start a new conversation",
    "/help": "show this list",
    "/quit": "end, as Ctrl-D; Ctrl-C stops an answer",
}
PROMPT = "> "
COMMANDS = tuple(command.split()[0] for command in HELP)


@dataclass
class Terminal:
    """Reads lines and writes answers."""

    conversation: Conversation
    answers: TextIO
    """Receives the answers, and nothing else."""

    messages: Console
    """Receives everything else."""

    is_interactive: bool = True
    """False for a script: a mistake ends it, and no prompt is written."""

    _is_finished: bool = field(default=False, init=False)

    def run(self, lines: Iterable[str]) -> None:
        """Process lines until they end.

        Raises:
            UserError: a mistake in a script.
        """
        for line in lines:
            try:
                self._process(line.rstrip("\n"))
            except UserError as error:
                if not self.is_interactive:
                    raise
                self._say(f"{error}", style="red")
            except KeyboardInterrupt:
                self._say("interrupted; /quit ends the conversation")
            if self._is_finished:
                return

    def read_lines(self) -> Iterator[str]:
        """Lines that a person types."""
        self._say("Type a message, or /help. Ctrl-C stops an answer, Ctrl-D ends the conversation.")
        while True:
            try:
                yield self.messages.input(f"[bold cyan]{PROMPT}[/]")
            except EOFError:
                self._say("")
                return
            except KeyboardInterrupt:
                self._say("")

    def add_audio(self, path: str) -> None:
        """Add a clip from a file."""
        before = len(self.conversation.pending)
        self.conversation.add_audio(path)
        self._say_added(before, path)

    def _process(self, line: str) -> None:
        if line.startswith("//"):
            self._answer(self.conversation.send(line[1:]))
        elif line.startswith("/"):
            self._command(line)
        elif line.strip():
            self._answer(self.conversation.send(line))

    def _command(self, line: str) -> None:
        try:
            command, *arguments = shlex.split(line)
        except ValueError as error:
            raise UserError(f"{line!r} has an open quote ({error}); close it") from error
        if command not in COMMANDS:
            raise UserError(
                f"{unknown('command', command, COMMANDS, see='/help')} A message that starts with / needs another: //"
            )
        if command == "/audio":
            self._check(command, arguments, least=1, most=None)
            for path in arguments:
                self.add_audio(path)
        elif command == "/record":
            self._check(command, arguments, least=0, most=1)
            self._record(arguments)
        elif command == "/save":
            self._check(command, arguments, least=1, most=1)
            self._say(f"saved to {self.conversation.save(arguments[0])}")
        else:
            self._check(command, arguments, least=0, most=0)
            self._simple_command(command)

    def _simple_command(self, command: str) -> None:
        if command == "/help":
            for usage, purpose in HELP.items():
                self._say(f"{usage:18} {purpose}")
        elif command == "/send":
            self._answer(self.conversation.send())
        elif command == "/regenerate":
            self._answer(self.conversation.regenerate())
        elif command == "/reset":
            self.conversation.reset()
            self._say("a new conversation")
        else:
            self._is_finished = True

    def _check(self, command: str, arguments: list[str], *, least: int, most: int | None) -> None:
        if len(arguments) < least or (most is not None and len(arguments) > most):
            usage = next(usage for usage in HELP if usage.split()[0] == command)
            raise UserError(f"{command} has {len(arguments)} arguments -- expected {usage}; see /help")

    def _record(self, arguments: list[str]) -> None:
        finished = threading.Event()
        microphone = Microphone()
        if arguments:
            recorded = microphone.record(finished, max_seconds=_seconds(arguments[0]))
        elif self.is_interactive:
            self._say("recording; Enter ends it")
            waiting = threading.Thread(target=self._wait_for_enter, args=(finished,), daemon=True)
            waiting.start()
            recorded = microphone.record(finished)
            if not finished.is_set():
                self._say("30 s are recorded; press Enter")
            waiting.join()
        else:
            raise UserError("/record in a script has no end -- expected a number of seconds; write /record 5")
        before = len(self.conversation.pending)
        self.conversation.add_audio(recorded.samples, rate=recorded.rate, name="microphone")
        self._say_added(before, "microphone")

    def _wait_for_enter(self, finished: threading.Event) -> None:
        with suppress(EOFError, KeyboardInterrupt):
            self.messages.input()
        finished.set()

    def _answer(self, pieces: Iterator[str]) -> None:
        """Write an answer; Ctrl-C ends it and not the conversation."""
        try:
            for piece in pieces:
                self.answers.write(piece)
                self.answers.flush()
        except KeyboardInterrupt:
            self.conversation.stop()
            for _ in pieces:  # the answer ends at the next token
                pass
            if not self.is_interactive:
                raise
        finally:
            self.answers.write("\n")
            self.answers.flush()

    def _say_added(self, before: int, name: str) -> None:
        for number in self.conversation.pending[before:]:
            self._say(f"Audio {number}: {name}")

    def _say(self, text: str, *, style: str = "dim") -> None:
        self.messages.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 3600:
        raise UserError(f"/record {text} -- expected a number of seconds; write /record 5")
    return seconds
