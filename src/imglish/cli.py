"""The command line: one sub-command per skill or verb. Each parses, calls and prints; nothing is decided here."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

import imglish
from imglish import _cli_input as given
from imglish._cli_catalogue import models
from imglish._cli_options import Options, with_options
from imglish._cli_print import document, flush, line, note, show
from imglish._cli_world import world
from imglish.core.errors import ImglishError

app = typer.Typer(
    name="imglish",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={
        "token_normalize_func": lambda name: name.replace("_", "-"),
        "help_option_names": ["-h", "--help"],
    },
)

Image = Annotated[str, typer.Argument(metavar="IMAGE", help="A picture: path, or - for standard input.")]
Images = Annotated[list[str] | None, typer.Option("--image", help="A picture; repeatable.")]
Prompt = Annotated[str | None, typer.Option("--prompt", help="The question, instead of as the last argument.")]


Language = Annotated[str, typer.Option(help="Of the answer: en, pl, vi, ru.")]


def _version(wanted: bool) -> None:
    if wanted:
        line(f"imglish {imglish.__version__}")
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """imglish, the language of pictures: ask a vision-language model about them.

    \b
    imglish ask cat.png "What colour is the cat?"
    imglish detect street.png car bicycle --out boxes.png
    imglish read plate.png --json
    imglish chat cat.png

    Without --model it is the small model inside the package, offline. It knows the drawn world it was trained on
    (imglish world things --out scenes); for photographs name a published checkpoint with --model.
    """


@app.command()
@with_options
def ask(
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="IMAGE... QUESTION", help="Pictures, and the question last.")
    ] = None,
    image: Images = None,
    prompt: Prompt = None,
    form: Annotated[
        str | None,
        typer.Option(
            help="What the answer must be: integer, number, date, 'yes or no', line, a range as 0..99, choices as "
            "red,green,blue, a pattern as '/[0-9]{4}/', or a JSON schema.",
        ),
    ] = None,
    *,
    options: Options,
) -> None:
    """Answer a question about one picture or several.

    \b
    imglish ask cat.png "How many cats?"
    imglish ask before.png after.png "What changed?" --json
    imglish ask --image cat.png --prompt "Is it asleep?" --max-tokens 5

    With --form the answer can be nothing else than what you name:

    \b
    imglish ask cat.png "How many cats?" --form 0..20
    imglish ask cat.png "What colour is it?" --form black,white,ginger
    imglish ask plate.png "What is on it?" --form '/[A-Z]{2} [0-9]{5}/'
    """
    names, question = given.pictures_and_text(
        arguments, images=image, prompt=prompt, example='imglish ask a.png "How many cats?"'
    )
    held = {} if form is None else {"form": given.form(form)}
    pictures = options.open(names)
    raise typer.Exit(show(options.load().ask(pictures, question, **held, **options.writing()), options))


@app.command()
@with_options
def caption(
    image: Image,
    detail: Annotated[str, typer.Option(help="brief, normal or full.")] = "normal",
    tone: Annotated[str, typer.Option(help="factual, positive or negative.")] = "factual",
    prompt: Annotated[str, typer.Option(help="An instruction in your own words.")] = "",
    language: Language = "en",
    *,
    options: Options,
) -> None:
    """Describe a picture.

    \b
    imglish caption cat.png
    imglish caption cat.png --detail full --language pl
    imglish caption receipt.png --tone positive --prompt "Describe the shopping."
    """
    (picture,) = options.open([image])
    wishes = {"detail": detail, "tone": tone, "language": language}
    result = options.load().caption(picture, prompt, **wishes, **options.writing())
    raise typer.Exit(show(result, options))


@app.command()
@with_options
def detect(
    image: Image,
    labels: Annotated[
        list[str] | None, typer.Argument(metavar="LABEL", help="What to look for; commas separate, too.")
    ] = None,
    language: Language = "en",
    *,
    options: Options,
) -> None:
    """Find things and their boxes: those named, or everything.

    \b
    imglish detect street.png
    imglish detect street.png car "traffic light" --out boxes.png
    imglish detect street.png car,bus,"traffic light"
    """
    wanted = given.labels(labels)
    (picture,) = options.open([image])
    result = options.load().detect(picture, wanted, language=language, **options.writing())
    raise typer.Exit(show(result, options))


@app.command()
@with_options
def ground(
    image: Image,
    phrase: Annotated[str, typer.Argument(help="What is meant, in words.")],
    *,
    options: Options,
) -> None:
    """Box the thing that a phrase describes.

    \b
    imglish ground table.png "the cup left of the book" --out box.png
    """
    (picture,) = options.open([image])
    raise typer.Exit(show(options.load().ground(picture, phrase, **options.writing()), options))


@app.command()
@with_options
def segment(
    image: Image,
    phrase: Annotated[str, typer.Argument(help="What is meant, in words.")],
    *,
    options: Options,
) -> None:
    """Outline the thing that a phrase describes, as polygons.

    \b
    imglish segment scan.png "the brain" --out mask.png
    imglish segment table.png "the red cup" --json
    """
    (picture,) = options.open([image])
    raise typer.Exit(show(options.load().segment(picture, phrase, **options.writing()), options))


@app.command()
@with_options
def read(image: Image, language: Language = "en", *, options: Options) -> None:
    """Read the text in a picture, line by line, with where each line stands.

    \b
    imglish read plate.png
    imglish read receipt.png --json > lines.json
    """
    (picture,) = options.open([image])
    raise typer.Exit(show(options.load().read(picture, language=language, **options.writing()), options))


@app.command()
@with_options
def identify(
    image: Image,
    box: Annotated[str, typer.Option(metavar="X1,Y1,X2,Y2", help="The region, in pixels of the picture.")],
    language: Language = "en",
    *,
    options: Options,
) -> None:
    """Say what is inside a box.

    \b
    imglish identify street.png --box 40,30,120,90
    """
    region = given.box(box)
    (picture,) = options.open([image])
    result = options.load().identify(picture, region, language=language, **options.writing())
    raise typer.Exit(show(result, options))


@app.command()
@with_options
def count(
    image: Image,
    thing: Annotated[str, typer.Argument(help="What to count.")],
    *,
    options: Options,
) -> None:
    """Count things of one kind.

    \b
    imglish count shelf.png bottles
    """
    (picture,) = options.open([image])
    raise typer.Exit(show(options.load().count(picture, thing, **options.writing()), options))


@app.command()
@with_options
def extract(
    image: Image,
    schema: Annotated[str, typer.Option(metavar="FIELDS", help="name,date,total; or a JSON schema, or its file.")],
    *,
    options: Options,
) -> None:
    """Fill in a form from a picture: a record that satisfies the schema, always.

    \b
    imglish extract card.png --schema name,number,expires --json
    imglish extract receipt.png --schema receipt.schema.json
    """
    fields = given.schema(schema)
    (picture,) = options.open([image])
    raise typer.Exit(show(options.load().extract(picture, fields, **options.writing()), options))


@app.command()
@with_options
def watch(
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="FRAME... QUESTION", help="Frames in order, and the question last.")
    ] = None,
    image: Images = None,
    prompt: Prompt = None,
    *,
    options: Options,
) -> None:
    """Answer a question about a clip, given as its frames or as an animation (GIF, WebP, APNG).

    \b
    imglish watch clip.gif "What moves?"
    imglish watch frames/*.png "Which way does the ball move?"
    """
    names, question = given.pictures_and_text(
        arguments, images=image, prompt=prompt, example='imglish watch frames/*.png "What moved?"'
    )
    frames, vlm = options.open_watched(names)
    raise typer.Exit(show(vlm.watch(frames, question, **options.writing()), options))


@app.command()
@with_options
def chat(
    image: Annotated[list[str] | None, typer.Argument(metavar="IMAGE", help="Pictures to begin with.")] = None,
    *,
    options: Options,
) -> None:
    """Talk about pictures; answers are streamed. /help lists the commands inside.

    \b
    imglish chat cat.png
    echo "What is this?" | imglish chat cat.png --json
    """
    from imglish._cli_chat import Conversation, reader

    given.shown(image or (), options.open)
    Conversation(options.load(), options, pictures=image or ()).run(reader())


@app.command(name="map")
@with_options
def map_(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Pictures in it and below are asked about.")],
    words: Annotated[
        list[str] | None, typer.Argument(metavar="WORDS", help="The question, the phrase, the thing, or labels.")
    ] = None,
    skill: Annotated[str, typer.Option(help="ask caption detect ground segment read identify count extract watch.")] = (
        "caption"
    ),
    *,
    out: Annotated[Path, typer.Option(help="The file of records, a line of JSON for each picture.")],
    prompt: Annotated[str | None, typer.Option("--prompt", help="The question, instead of as an argument.")] = None,
    box: Annotated[str | None, typer.Option(metavar="X1,Y1,X2,Y2", help="identify: the region.")] = None,
    schema: Annotated[str | None, typer.Option(metavar="FIELDS", help="extract: as there.")] = None,
    detail: Annotated[str | None, typer.Option(help="caption: brief, normal or full.")] = None,
    tone: Annotated[str | None, typer.Option(help="caption: factual, positive or negative.")] = None,
    language: Language = "en",
    batch: Annotated[int, typer.Option(help="Pictures asked about together.", min=1)] = 8,
    pattern: Annotated[str | None, typer.Option(help="Only names like this, say 'train/*.png'.")] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first so many.", min=1)] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Ask those again that failed.")] = False,
    redo: Annotated[bool, typer.Option("--redo", help="Ask all again: another question, another model.")] = False,
    options: Options,
) -> None:
    """Ask one skill of every picture in a folder; start it again after a stop and it goes on where it was.

    \b
    imglish map photos --skill detect --out boxes.jsonl
    imglish map photos car bicycle --skill detect --out cars.jsonl
    imglish map scans --skill extract --schema name,total --out fields.jsonl
    """
    from imglish._cli_map import run

    given.map_skill(skill)
    given_box = None if box is None else given.box(box)
    given_schema = None if schema is None else given.schema(schema)
    asking = {"skill": skill, "box": given_box, "schema": given_schema, "detail": detail, "tone": tone}
    asking |= given.words(skill, words, prompt=prompt) | {"language": language}
    how = {"batch": batch, "pattern": pattern, "limit": limit, "retry": retry, "redo": redo}
    raise typer.Exit(run(folder, options, out=out, **asking, **how))


app.command()(world)
app.command()(models)


@app.command()
def version(as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False) -> None:
    """Print the versions of imglish and of what it stands on."""
    import platform
    from importlib.metadata import version as installed

    versions = {"imglish": imglish.__version__, "python": platform.python_version()}
    versions |= {name: installed(name) for name in ("torch", "transformers", "pillow", "numpy")}
    if as_json:
        document(versions)
    else:
        line("\n".join(f"{name} {number}" for name, number in versions.items()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0, 2 for bad usage or input, 1 for failure."""
    try:
        app(args=None if arguments is None else list(arguments), prog_name="imglish")
        status = 0
    except ImglishError as error:
        note(str(error), kind="error")
        status = error.exit_status
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except OSError as error:
        if error.filename is None:
            raise
        note(f"cannot use '{error.filename}': {error.strerror}", kind="error")
        status = 2
    return status if flush() else 1


if __name__ == "__main__":
    sys.exit(main())
