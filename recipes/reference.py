"""Write docs/reference/ from the docstrings of the public names: `python recipes/reference.py`. A test compares."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import importlib
import inspect
import itertools
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imglish
from imglish import metrics

ROOT = Path(__file__).parents[1]
OUT = ROOT / "docs/reference"
HINT = "<!-- written by recipes/reference.py from docstrings: change those, then run it -->"

# page: (title, [(module, names)]); a module without names is told by its own docstring alone
PAGES: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "model": (
        "Loading and asking a model",
        [("imglish.engine.vlm", "load VLM Chat Stream"), ("imglish.engine.generate", "Options")],
    ),
    "results": (
        "Results, receipts, problems",
        [
            (
                "imglish.core.results",
                "Text Boxes Masks TextRegions Record Result Instance result_from_json",
            ),
            ("imglish.core.receipts", "Problem Receipt ImageReceipt Token"),
        ],
    ),
    "messages": (
        "Messages, requests, samples",
        [("imglish.core.types", "Message TextPart ImagePart VideoPart Request Sample to_messages")],
    ),
    "world": (
        "The world",
        [
            ("imglish.world", "kinds draw samples seeds write words mentions to_json"),
            ("imglish.world._scene", "Scene Thing TextLine"),
        ],
    ),
    "metrics": ("Metrics", [("imglish.metrics", "names get")]),  # and every member of the folder
    "images": ("Opening pictures", [("imglish.core.images", "open_image open_frames content_hash")]),
    "coordinates": (
        "Frames, codecs, geometry",
        [
            ("imglish.core.codecs", "Codec Bins Normalised Pixels"),
            ("imglish.core.frames", "Fitted Squash Pad Resized Tiled Identity"),
            ("imglish.core.geometry", "area iou clip box_of quad_to_box box_to_quad polygon_area polygon_to_bitmap"),
            ("imglish.core.geometry", "bitmap_to_polygons simplify resample mask_iou"),
        ],
    ),
    "bridge": (
        "Building a model",
        [
            ("imglish.nn.bridge", "Bridge"),
            ("imglish.nn.config", "BridgeConfig"),
            ("imglish.nn.processor", "BridgeProcessor LetterboxProcessor"),
            ("imglish.nn.adapters", ""),
        ],
    ),
    "errors": ("Errors", [("imglish.core.errors", "")]),
}


def pages() -> dict[str, str]:
    """File name to text, of every page."""
    written = {f"{name}.md": _page(name, title, homes) for name, (title, homes) in PAGES.items()}
    written["command-line.md"] = command_line()
    links = [f"| [{title}]({name}.md) |" for name, (title, _) in PAGES.items()]
    links.append("| [Command line](command-line.md) |")
    head = f"{HINT}\n\n# Reference\n\nThe guides tell how; these pages list what there is.\n\n| page |\n|---|\n"
    written["README.md"] = head + "\n".join(links) + "\n"
    return written


def _page(name: str, title: str, homes: list[tuple[str, str]]) -> str:
    parts = [HINT, f"# {title}"]
    for home, names in homes:
        module = importlib.import_module(home)
        if not names:
            parts += [f"## {home.rpartition('.')[2]}"] * (len(homes) > 1)
            parts.append(prose(module.__doc__ or ""))
        for item in names.split():
            parts += _member(item, getattr(module, item), home)
    if name == "metrics":
        for metric in metrics.names():
            module = importlib.import_module(f"imglish.metrics.{metric}")
            parts += [f"## {metric}", prose(module.__doc__ or ""), *_function("score", module.score, level=3)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _member(name: str, value: Any, home: str) -> Iterator[str]:
    if not inspect.isclass(value):
        heading, *rest = _function(name, value, level=2)
        yield from (heading, _public_home(name, home), *rest)
        return
    yield f"## {name}"
    yield _public_home(name, home)
    yield prose(value.__doc__ or "")
    if dataclasses.is_dataclass(value):
        own = inspect.get_annotations(value)
        rows = [_field(field) for field in dataclasses.fields(value) if field.name in own]
        if rows:
            yield "| field | type | default |\n|---|---|---|\n" + "\n".join(rows)
        yield "\n".join(f"- `{field}`: {note}" for field, note in notes(value).items())
    for attribute, member in vars(value).items():
        if attribute.startswith("_"):
            continue
        if isinstance(member, property) or type(member).__name__ == "cached_property":
            getter = member.fget if isinstance(member, property) else member.func
            if getter.__doc__:
                yield f"### {attribute}\n\n{prose(getter.__doc__)}"
        else:
            function = getattr(member, "__func__", getattr(member, "__wrapped__", member))
            if inspect.isfunction(function) and function.__doc__:
                yield from _function(attribute, function, level=3)


def notes(value: type) -> dict[str, str]:
    """What the strings below the fields of a dataclass say of them."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(value))).body
    found = {}
    for before, after in itertools.pairwise(getattr(body, "body", [])):
        says = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name) and says:
            found[before.target.id] = inspect.cleandoc(str(after.value.value))
    return found


def _public_home(name: str, home: str) -> str:
    """Where a name is imported from; empty where that is private."""
    parts = ["imglish"] if name in imglish.__all__ else home.split(".")
    while parts[-1].startswith("_"):
        parts.pop()
    module = ".".join(parts)
    return f"`{module}.{name}`" if hasattr(importlib.import_module(module), name) else ""


def _field(field: dataclasses.Field[Any]) -> str:
    default = "" if field.default is dataclasses.MISSING else f"`{field.default!r}`"
    if field.default_factory is not dataclasses.MISSING:
        default = f"`{field.default_factory()!r}`"
    kind = str(field.type).replace("|", "\\|")
    return f"| `{field.name}` | `{kind}` | {default} |"


def _function(name: str, function: Any, *, level: int) -> Iterator[str]:
    yield f"{'#' * level} {name}"
    yield f"```text\n{name}{signature(function)}\n```"
    yield prose(function.__doc__ or "")


def signature(function: Any) -> str:
    """The parameters as they stand in the source, `self` left out; a line each where they are many."""
    parts, starred = [], False
    found = inspect.signature(function)
    for parameter in found.parameters.values():
        if parameter.name in ("self", "cls"):
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            parts.append("*")
        starred = starred or parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
        stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        text = f"{stars}{parameter.name}"
        if parameter.annotation is not parameter.empty:
            text += f": {parameter.annotation}"
        if parameter.default is not parameter.empty:
            text += f" = {parameter.default!r}"
        parts.append(text)
    back = "" if found.return_annotation is found.empty else f" -> {found.return_annotation}"
    line = f"({', '.join(parts)}){back}"
    return line if len(line) <= 100 else "(\n    " + ",\n    ".join(parts) + f",\n){back}"


def prose(text: str) -> str:
    """A docstring as Markdown: examples and drawings are fenced."""
    parts = []
    for part in inspect.cleandoc(text).split("\n\n"):
        if part.lstrip().startswith(">>>"):
            parts.append(f"```pycon\n{inspect.cleandoc(part)}\n```")
        elif "── " in part or part.startswith("    "):
            parts.append(f"```text\n{part}\n```")
        else:
            parts.append(part)
    return "\n\n".join(parts)


def command_line() -> str:
    """Every command with its arguments and options."""
    from typer.main import get_command

    from imglish.cli import app

    group: Any = get_command(app)
    parts = [HINT, "# Command line", "`imglish COMMAND --help` says the same."]
    for name, command in group.commands.items():
        about, _, examples = inspect.cleandoc(command.help or "").partition("\b\n")
        parts += [f"## imglish {name}", about.strip()]
        if examples.strip():
            parts.append(f"```text\n{examples.strip()}\n```")
        rows = [_option(option) for option in command.params if option.name != "help"]
        if rows:
            parts.append("| | |\n|---|---|\n" + "\n".join(rows))
    return "\n\n".join(parts) + "\n"


def _option(option: Any) -> str:
    name = ", ".join(option.opts) if option.opts[0].startswith("-") else str(option.metavar or option.name)
    text = re.sub(r"\s+", " ", getattr(option, "help", None) or "").replace("|", "\\|")
    return f"| `{name}` | {text} |"


def main() -> None:
    """Write all pages, and remove those that are no more."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    written = pages()
    for path in out.glob("*.md"):
        if path.name not in written:
            path.unlink()
    for name, text in written.items():
        (out / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
