"""What every command of a skill takes: one dataclass, whose fields become the options of each command."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from imglish._cli_print import listen, note
from imglish.core.errors import CheckpointError, DownloadError, InputError

if TYPE_CHECKING:
    from imglish.engine.vlm import VLM

MODEL, WRITING, OUTPUT = "Which model", "How it writes", "What comes out"
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tiff", ".gif")


@dataclasses.dataclass(frozen=True)
class Options:
    """The options that all skills share; None means that the model's own default holds."""

    model: Annotated[
        str | None,
        typer.Option(
            help="Name of a checkpoint on the hub (owner/name), its folder, or the address of a server; "
            "the shipped one if not given.",
            rich_help_panel=MODEL,
            show_default=False,
        ),
    ] = None
    model_name: Annotated[
        str | None,
        typer.Option(help="Which model of the server, where --model is an address.", rich_help_panel=MODEL),
    ] = None
    timeout: Annotated[
        float | None, typer.Option(help="Seconds that a server is waited for (600).", rich_help_panel=MODEL)
    ] = None
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit on the hub.", rich_help_panel=MODEL)] = (
        None
    )
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.", rich_help_panel=MODEL)] = None
    dtype: Annotated[str | None, typer.Option(help="auto, float32, bfloat16, float16.", rich_help_panel=MODEL)] = None
    quantize: Annotated[
        str | None,
        typer.Option(help="int8 or int4: the decoder's weights in fewer bits.", rich_help_panel=MODEL),
    ] = None
    min_pixels: Annotated[
        int | None,
        typer.Option(help="Look at pictures of at least so many pixels (Qwen-VL).", min=1, rich_help_panel=MODEL),
    ] = None
    max_pixels: Annotated[
        int | None,
        typer.Option(
            help="Look at pictures of at most so many pixels (Qwen-VL, server).", min=1, rich_help_panel=MODEL
        ),
    ] = None
    max_image_pixels: Annotated[
        int | None, typer.Option(help="Refuse pictures with more pixels (89 million).", min=1, rich_help_panel=MODEL)
    ] = None
    allow_urls: Annotated[bool, typer.Option("--allow-urls", help="Fetch http(s) pictures.", rich_help_panel=MODEL)] = (
        False
    )
    max_tokens: Annotated[
        int | None, typer.Option(help="Longest answer, in tokens.", min=1, rich_help_panel=WRITING)
    ] = None
    temperature: Annotated[
        float | None, typer.Option(help="0 is greedy, the default.", min=0.0, rich_help_panel=WRITING)
    ] = None
    top_p: Annotated[
        float | None,
        typer.Option(help="Sample from the likeliest share only.", min=0.0, max=1.0, rich_help_panel=WRITING),
    ] = None
    stop: Annotated[
        list[str] | None, typer.Option(help="End the answer before this text; repeatable.", rich_help_panel=WRITING)
    ] = None
    seed: Annotated[int | None, typer.Option(help="Makes sampling repeatable.", rich_help_panel=WRITING)] = None
    top_k: Annotated[
        int | None, typer.Option(help="Sample from so many of the likeliest tokens.", min=0, rich_help_panel=WRITING)
    ] = None
    min_p: Annotated[
        float | None,
        typer.Option(help="Sample from this share of the likeliest one up.", min=0.0, max=1.0, rich_help_panel=WRITING),
    ] = None
    repetition_penalty: Annotated[
        float | None, typer.Option(help="Above 1, repeating becomes less likely.", rich_help_panel=WRITING)
    ] = None
    beams: Annotated[
        int | None, typer.Option(help="Search with so many beams; 1 is greedy.", min=1, rich_help_panel=WRITING)
    ] = None
    deadline: Annotated[
        float | None, typer.Option(help="Seconds; what is not there by then is cut.", rich_help_panel=WRITING)
    ] = None
    memory_limit: Annotated[
        str | None,
        typer.Option(help="Refuse what takes more, say 4GB; what is free if not given.", rich_help_panel=WRITING),
    ] = None
    logprobs: Annotated[
        int | None,
        typer.Option(
            help="Tell each token's log-probability, and so many of the likeliest ones (0 to 20).", min=0, max=20,
            rich_help_panel=OUTPUT,
        ),
    ] = None  # fmt: skip
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.", rich_help_panel=OUTPUT)] = (
        False
    )
    out: Annotated[
        Path | None, typer.Option(help="Write the picture with the answer drawn on it.", rich_help_panel=OUTPUT)
    ] = None

    def check(self) -> None:
        """Refuse what would only fail after the model has done its work."""
        if self.out is None:
            return
        if self.out.suffix.lower() not in PICTURES:
            raise InputError(
                f"cannot write a picture to '{self.out}'; its name must end in {' '.join(PICTURES)}",
                hint="for example --out overlay.png",
            )
        if not self.out.absolute().parent.is_dir():
            raise InputError(
                f"cannot write '{self.out}': there is no folder '{self.out.parent}'",
                hint=f"make it first: mkdir -p '{self.out.parent}'",
            )

    def open(self, sources: Sequence[str]) -> list[Any]:
        """The pictures, opened; `-` is standard input."""
        from imglish.core.images import open_image

        limits = self._limits()
        return [open_image(sys.stdin.buffer.read() if name == "-" else name, **limits) for name in sources]

    def open_watched(self, sources: Sequence[str]) -> tuple[list[Any], VLM]:
        """What is watched, and the model: one animation is its frames, so many of them as the family takes."""
        from imglish.core.images import open_frames

        if len(sources) > 1:
            return self.open(sources), self.load()
        source = sys.stdin.buffer.read() if sources[0] == "-" else sources[0]
        limits = self._limits()
        open_frames(source, count=1, **limits)  # what is no picture is told before the model is loaded
        vlm = self.load()
        most = max(getattr(vlm.loaded.family, "max_frames", 0), 2)
        frames = open_frames(source, count=most + 1, **limits)
        if len(frames) > most:
            note(f"the clip has more than {most} frames; {most} of them are looked at, evenly spaced", kind="warning")
            frames = open_frames(source, count=most, **limits)
        return list(frames), vlm

    def load(self) -> VLM:
        """The model that was asked for."""
        import imglish
        from imglish.engine._remote_address import is_address

        listen()
        names = ("revision", "device", "dtype", "quantize", "min_pixels", "max_pixels", "timeout")
        given = {name: getattr(self, name) for name in names} | {"model": self.model_name}
        if self.model_name is not None and not is_address(self.model):
            raise InputError(
                f"--model-name is {self.model_name!r}, and --model is not the address of a server",
                hint="for example --model http://127.0.0.1:8000/v1 --model-name NAME",
            )
        try:
            return imglish.load(self.model, **{name: value for name, value in given.items() if value is not None})
        except CheckpointError as error:
            if self.model is None or isinstance(error, DownloadError):
                raise  # a failure of the installation, of the network, of the disk
            raise InputError(error.message, hint=error.hint) from error  # what the user named cannot be used

    def writing(self) -> dict[str, Any]:
        """How to write, as keyword arguments of a skill: only what was given."""
        names = (
            "max_tokens", "temperature", "top_p", "stop", "seed", "top_k", "min_p", "repetition_penalty", "beams",
            "deadline", "memory_limit", "logprobs",
        )  # fmt: skip
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def _limits(self) -> dict[str, Any]:
        """What pictures may be, as keyword arguments of `open_image`."""
        most = {} if self.max_image_pixels is None else {"max_pixels": self.max_image_pixels}
        return {"allow_urls": self.allow_urls, **most}


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """The same command, with the fields of Options as options of its own; it gets them as `options`.

    A field of which the command has a parameter itself is the command's.
    """
    own = inspect.signature(command, eval_str=True).parameters.values()
    hints = get_type_hints(Options, include_extras=True)
    shared = [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
        )
        for field in dataclasses.fields(Options)
        if field.name not in inspect.signature(command).parameters
    ]
    parameters = [*(parameter for parameter in own if parameter.name != "options"), *shared]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        options = Options(**{parameter.name: given.pop(parameter.name) for parameter in shared})
        options.check()
        command(**given, options=options)

    signed: Any = run
    signed.__signature__ = inspect.Signature([p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters])
    signed.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run
