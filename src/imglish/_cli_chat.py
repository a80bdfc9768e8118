"""The conversation in the terminal: lines in, streamed answers out, and a few commands that start with a slash."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imglish._cli_options import Options
from imglish._cli_print import document, note, tokens_table, warn
from imglish.core.errors import ImglishError, InputError, SkillError
from imglish.core.types import ImagePart, Message, TextPart

if TYPE_CHECKING:
    from imglish.engine.vlm import VLM

HELP = """\
/image PATH   show a picture with your next message
/save FILE    write the conversation as JSON messages
/reset        forget everything that was said
/quit         end (so does Ctrl-D)
/help         this list"""


class Conversation:
    """One chat. `turns` is what the model gets, pictures opened; `messages` is what /save writes, pictures as paths."""

    def __init__(self, vlm: VLM, options: Options, *, pictures: Sequence[str] = ()) -> None:
        if options.as_json and options.logprobs is not None:
            raise InputError(
                "--logprobs and --json: messages have no place for log-probabilities",
                hint="leave --json out, or ask with imglish ask --json --logprobs",
            )
        self.vlm = vlm
        self.options = options
        self.turns: list[Message] = []
        self.messages: list[dict[str, Any]] = []
        self.pending = list(pictures)
        self.last: Any = None

    def run(self, read: Callable[[], str]) -> None:
        """Read lines until the end of input or `/quit`."""
        while True:
            try:
                text = read().strip()
            except (EOFError, KeyboardInterrupt):
                break
            if text.lower().split(maxsplit=1)[:1] in (["/quit"], ["/exit"], ["/q"]):
                break
            try:
                if text.startswith("/"):
                    self.command(*text.split(maxsplit=1))
                elif text:
                    self.say(text)
            except ImglishError as error:
                note(str(error), kind="error")
            except KeyboardInterrupt:
                note("\nstopped")
        if self.options.as_json:
            document({"messages": self.messages})
        if self.options.out is not None:
            self.draw(self.options.out)

    def say(self, text: str) -> None:
        """One turn: the answer is streamed to stdout as it is written."""
        pictures = self.options.open(self.pending)
        question = Message("user", (*(ImagePart(picture) for picture in pictures), TextPart(text)))
        result = self.last = self.answer([*self.turns, question])
        if not self.options.as_json:
            sys.stdout.write("\n")
            tokens_table(result.tokens)
        warn(result)
        self.turns += [question, Message("assistant", (TextPart(str(result)),))]
        images = [{"type": "image", "image": name} for name in self.pending]
        self.messages.append({"role": "user", "content": [*images, {"type": "text", "text": text}]})
        self.messages.append({"role": "assistant", "content": str(result)})
        self.pending = []

    def answer(self, turns: list[Message]) -> Any:
        """The model's result, shown as it is written."""
        try:
            stream = self.vlm.stream(turns, **self.options.writing())
            for piece in stream:
                if not self.options.as_json:
                    sys.stdout.write(piece)
                    sys.stdout.flush()
        except SkillError as error:
            if "no image" not in error.message:
                raise
            raise SkillError(error.message, hint="/image PATH shows a picture with your next message") from error
        return stream.result

    def draw(self, out: Path) -> None:
        """Write the picture with the last answer on it."""
        if self.last is None:
            note(f"nothing was answered, so '{out}' is not written", kind="warning")
            return
        self.last.draw().save(out)
        note(f"wrote {out}")

    def command(self, name: str, argument: str = "") -> None:
        """One line that starts with a slash."""
        command = name.lower()
        if command == "/image":
            self.image(_unquoted(argument))
        elif command == "/save":
            self.save(_unquoted(argument))
        elif command == "/reset":
            self.turns, self.messages, self.pending, self.last = [], [], [], None
            note("forgotten")
        elif command == "/help":
            note(HELP)
        else:
            raise InputError(f"no command {name!r}", hint="/help lists them; a message does not begin with a slash")

    def image(self, path: str) -> None:
        """Check the picture now, show it with the next message."""
        if not path:
            raise InputError("/image takes the path of a picture", hint="for example /image cat.png")
        picture = self.options.open([path])[0]
        self.pending.append(path)
        note(f"{path}: {picture.width}x{picture.height}, goes with your next message")

    def save(self, path: str) -> None:
        """Write the messages; pictures stay paths."""
        if not path:
            raise InputError("/save takes the name of a file", hint="for example /save talk.json")
        text = json.dumps({"messages": self.messages}, ensure_ascii=False, indent=2)
        try:
            Path(path).write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise InputError(f"cannot write '{path}': {error.strerror}", hint="give a file you may write") from error
        note(f"wrote {len(self.messages)} messages to {path}")


def _unquoted(text: str) -> str:
    """A path as a shell would take it: quotes around it are not of its name."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def reader() -> Callable[[], str]:
    """How the next line is read: with editing and history on a terminal, plainly from a pipe."""
    if not sys.stdin.isatty():
        return input
    try:
        import readline  # noqa: F401  (importing it is what gives input() its line editing)
    except ImportError:
        note("no line editing on this machine")

    def read() -> str:
        sys.stderr.write("you> ")
        sys.stderr.flush()
        return input()

    return read
