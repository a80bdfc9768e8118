"""The sub-command `imglish models`: its options, and nothing of what it shows until it runs."""

from __future__ import annotations

from typing import Annotated

import typer


def models(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A checkpoint, or a family: tells all that is known of it.")
    ] = None,
    fits: Annotated[str | None, typer.Option(metavar="8GB", help="Takes no more memory for one picture.")] = None,
    precision: Annotated[str, typer.Option(help="In which --fits and --sort count: bf16, int8, int4, fp32.")] = "bf16",
    can: Annotated[
        str | None, typer.Option(metavar="SKILLS", help="Has these: detect,chat; also OCR, grounding, video, images.")
    ] = None,
    prompted: Annotated[
        bool, typer.Option("--prompted", help="--can counts what is done by instruction, too.")
    ] = False,
    licence: Annotated[
        str | None, typer.Option("--license", "--licence", help="One of these, by its beginning: mit,apache.")
    ] = None,
    commercial: Annotated[bool, typer.Option("--commercial", help="May be used commercially.")] = False,
    language: Annotated[str | None, typer.Option(help="Speaks these: en,pl.")] = None,
    runs: Annotated[bool, typer.Option("--runs", help="Only what this version runs.")] = False,
    sort: Annotated[
        str | None, typer.Option(help="By memory, parameters, context, year, licence, name or family.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """List the published models that are known, or tell all about one.

    \b
    imglish models --fits 8GB --can detect,chat --commercial
    imglish models --license mit --sort memory
    imglish models Florence-2-base
    """
    from imglish import _cli_models as shown

    wishes = shown.Wishes(fits, precision, can, prompted, licence, commercial, language, runs, sort)
    if name is not None:
        shown.show(name, wishes, as_json=as_json)
    else:
        shown.listing(wishes.chosen(), as_json=as_json)
