"""What people type, turned into what the skills take: pictures and question, box, schema."""

from __future__ import annotations

import difflib
import json
import os.path
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from imglish.core.errors import ImageError, InputError, UnknownName
from imglish.core.types import SKILLS, Box


def pictures_and_text(
    arguments: Sequence[str] | None, *, images: Sequence[str] | None, prompt: str | None, example: str
) -> tuple[list[str], str]:
    """`a.png b.png "What changed?"`, or the same through --image and --prompt."""
    given = list(arguments or ())
    if prompt is None:
        if not given:
            raise InputError("no question given", hint=f"for example {example}")
        prompt = given.pop()
    pictures = [*(images or ()), *given]
    if not pictures:
        if os.path.isfile(prompt):
            raise InputError(f"there is a picture, '{prompt}', and no question", hint=f"for example {example}")
        raise InputError(f"no picture given for {prompt!r}", hint=f"for example {example}")
    if not prompt.strip():
        raise InputError("the question is empty", hint=f"for example {example}")
    return pictures, prompt


def shown(names: Sequence[str], open_: Callable[[Sequence[str]], object]) -> None:
    """Refuse what is no picture to begin a chat with; a question is not typed there."""
    for name in names:
        try:
            open_([name])
        except ImageError as error:
            if name == "-" or "://" in name or os.path.exists(name) or Path(name).suffix[1:].isalnum():
                raise
            hint = "pictures only; the question is typed in the chat, or ask once: imglish ask cat.png QUESTION"
            raise InputError(error.message, hint=hint) from error


def map_skill(skill: str) -> None:
    """Refuse what `imglish map` cannot ask."""
    if skill == "chat":
        raise InputError("a chat has turns, and every picture of a folder is asked once", hint="perhaps --skill ask")
    if skill not in SKILLS:
        raise UnknownName("skill", skill, [name for name in SKILLS if name != "chat"])


def words(skill: str, given: Sequence[str] | None, *, prompt: str | None) -> dict[str, Any]:
    """What `imglish map` is given after the folder: the labels of detect, the one text of any other skill."""
    if skill == "detect":
        if prompt is not None:
            raise InputError("detect takes labels, and no prompt", hint="imglish map FOLDER car bus --skill detect ...")
        return {"labels": labels(given) or None, "text": None}
    texts = [*(given or ()), *([] if prompt is None else [prompt])]
    if len(texts) > 1:
        raise InputError(f"{skill} takes one text, and {len(texts)} are given", hint='quote it: "How many cats?"')
    return {"labels": None, "text": texts[0] if texts else None}


def labels(given: Sequence[str] | None) -> tuple[str, ...]:
    """`car,bus "traffic light"` as three labels; nothing given is none."""
    found = [label.strip() for text in given or () for label in text.strip().removesuffix(",").split(",")]
    if "" in found:
        said = " ".join(map(repr, given or ()))
        raise InputError(f"there is an empty label in {said}", hint='for example car,bus or car "traffic light"')
    return tuple(found)


def box(text: str) -> Box:
    """`10,20,110,220` as x1, y1, x2, y2."""
    try:
        x1, y1, x2, y2 = (float(number) for number in text.replace(",", " ").split())
    except ValueError:
        raise InputError(
            f"cannot read the box {text!r}; a box is four numbers: x1,y1,x2,y2 in pixels of the picture",
            hint="for example --box 10,20,110,220",
        ) from None
    if not (x1 < x2 and y1 < y2):
        raise InputError(
            f"the box {text!r} is empty or turned round; x1 < x2 and y1 < y2 must hold",
            hint=f"perhaps --box {min(x1, x2):g},{min(y1, y2):g},{max(x1, x2):g},{max(y1, y2):g}",
        )
    return x1, y1, x2, y2


def schema(text: str) -> Mapping[str, Any]:
    """A JSON schema from a file, from JSON itself, or from field names: `name,date,total`."""
    source = f"the schema {text!r}"
    if text.lstrip().startswith("{"):
        content = text
    elif text.endswith(".json"):
        source = f"'{text}'"
        try:
            content = Path(text).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot read {source}: {error}", hint="give the path of a JSON schema") from error
    else:
        names = [name.strip() for name in text.split(",") if name.strip()]
        if not names:
            raise InputError("the schema is empty", hint="for example --schema name,date,total")
        properties = {name: {"type": "string"} for name in names}
        return {"type": "object", "properties": properties, "required": names, "additionalProperties": False}
    try:
        value = json.loads(content)
    except json.JSONDecodeError as error:
        raise InputError(f"{source} is no JSON: {error}", hint="for example --schema name,date,total") from error
    if not isinstance(value, dict) or "properties" not in value:
        raise InputError(
            f"{source} is no schema of a record; it needs 'properties'",
            hint='for example {"type": "object", "properties": {"name": {"type": "string"}}}',
        )
    return value


def form(text: str) -> Any:
    """What an answer must look like: `number`, `0..99`, `red,green,blue`, `/[0-9]{4}/`, or a JSON schema.

    Choices with commas in them are a JSON list: `["a, b", "c"]`. A form that no answer can have is refused here, before
    any model is loaded.
    """
    from imglish.engine.forms import KINDS, as_grammar

    said = text.strip()
    bounds = re.fullmatch(r"(-?\d+)\.\.(-?\d+)", said)
    made: Any
    if said in KINDS:
        made = said
    elif len(said) > 2 and said[0] == said[-1] == "/":
        made = _pattern(said[1:-1])
    elif bounds:
        made = range(int(bounds[1]), int(bounds[2]) + 1)
        if not made:
            raise InputError(
                f"the form {text!r} is turned round; a range goes up", hint=f"perhaps --form {bounds[2]}..{bounds[1]}"
            )
    elif said.startswith("["):
        made = _list(said)
    elif said.startswith("{") or said.endswith(".json"):
        made = schema(said)
    elif "," in said:
        made = [choice.strip() for choice in said.split(",") if choice.strip()]
    else:
        raise _unknown_form(text, list(KINDS))
    as_grammar(made)
    return made


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise InputError(
            f"the pattern /{text}/ is no regular expression: {error}", hint="for example --form '/[A-Z]{2}-[0-9]{4}/'"
        ) from None


def _list(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"the choices {text!r} are no JSON list: {error}", hint="""for example --form '["a, b", "c"]'"""
        ) from None


def _unknown_form(text: str, kinds: Sequence[str]) -> InputError:
    near = difflib.get_close_matches(text.strip().lower(), kinds, n=1)
    example = repr(near[0]) if near and " " in near[0] else near[0] if near else "red,green,blue"
    return InputError(
        f"cannot read the form {text!r}; a form is {', '.join(kinds)}, a range as 0..99, choices as red,green,blue, "
        "a pattern as /[0-9]{4}/, or a JSON schema",
        hint=f"perhaps --form {example}" if near else f"for example --form {example}",
    )


def size(text: str) -> tuple[int, int]:
    """`256x192` as width and height."""
    try:
        width, height = (int(number) for number in text.lower().split("x"))
    except ValueError:
        width = height = 0
    if width < 1 or height < 1:
        raise InputError(
            f"cannot read the size {text!r}; a size is WIDTHxHEIGHT in pixels", hint="for example --size 256x192"
        )
    return width, height
