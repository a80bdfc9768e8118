"""What a failure of the hub's client means for the person who wanted a checkpoint, and what they can do."""

from __future__ import annotations

import difflib
import errno
from typing import TYPE_CHECKING

from imglish.core.errors import CheckpointError, DownloadError, ImglishError, InputError
from imglish.core.registry import Registry

if TYPE_CHECKING:
    from imglish.engine.hub import Wanted

AGAIN = "run the same again: files that are whole are not fetched twice"
ROOM = "free some room (hf cache ls, hf cache rm), or set HF_HOME to a folder on a larger disk"


def failures() -> tuple[type[Exception], ...]:
    """What the client raises where something outside of this program fails."""
    from huggingface_hub import errors

    return (OSError, ValueError, RuntimeError, errors.HTTPError, errors.XetDownloadError)  # type: ignore[attr-defined]


def explain(error: Exception, wanted: Wanted) -> ImglishError:
    """The same failure in our words."""
    from huggingface_hub import errors

    if isinstance(error, errors.HFValidationError):
        return InputError(
            f"{wanted.name!r} is not a name on the hub", hint="a name is owner/name, as in microsoft/Florence-2-base"
        )
    if isinstance(error, errors.GatedRepoError):
        return _gated(wanted)
    if isinstance(error, errors.RevisionNotFoundError):
        return InputError(f"{wanted.name!r} has no revision {wanted.revision!r}", hint=_revisions(wanted))
    if isinstance(error, errors.RepositoryNotFoundError):
        return _unknown(wanted)
    if isinstance(error, errors.HfHubHTTPError):
        return _answered(error.response.status_code, wanted)
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error):
        return DownloadError(f"the disk of {wanted.cache} is full; {wanted.name!r} was not downloaded whole", hint=ROOM)
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return DownloadError(
            f"cannot write to {wanted.cache}: {error}", hint="set HF_HOME to a folder that you may write to"
        )
    return _broken(error, wanted)


def _gated(wanted: Wanted) -> ImglishError:
    from huggingface_hub import get_token

    page = f"{wanted.endpoint}/{wanted.name}"
    if get_token():
        return CheckpointError(
            f"{wanted.name!r} is gated, and the account of your token has no access to it",
            hint=f"accept the terms on {page} with that account; some authors answer after a while",
        )
    return CheckpointError(
        f"{wanted.name!r} is gated: its authors ask for an agreement before it is downloaded",
        hint=f"accept the terms on {page}, then log in once: hf auth login (or set HF_TOKEN)",
    )


def _unknown(wanted: Wanted) -> ImglishError:
    near = difflib.get_close_matches(wanted.name.lower(), known := _published(), n=1, cutoff=0.6)
    nearest = f". Did you mean {known[near[0]]!r}?" if near else ""
    return InputError(
        f"{wanted.endpoint} has no model {wanted.name!r}, or it is private{nearest}",
        hint="imglish models lists the published checkpoints that run; for a private one log in: hf auth login",
    )


def _published() -> dict[str, str]:
    """The checkpoints that the families know, by their names in small letters."""
    families = Registry("imglish.families", what="family", attribute="Family")
    cards = [card for name in families.names() for card in getattr(families.get(name), "checkpoints", ())]
    return {card.name.lower(): card.name for card in cards}


def _revisions(wanted: Wanted) -> str:
    from huggingface_hub import HfApi

    try:
        refs = HfApi(endpoint=wanted.endpoint).list_repo_refs(wanted.name)
    except failures():
        return "a revision is a branch, a tag or a commit, as on the hub's page"
    names = [ref.name for ref in (*refs.branches, *refs.tags)]
    return f"known are {', '.join(names[:12])}, and every commit"


def _answered(status: int, wanted: Wanted) -> ImglishError:
    if status == 401:
        return InputError(
            f"{wanted.endpoint} does not accept your token", hint="log in again: hf auth login; or unset HF_TOKEN"
        )
    if status == 403:
        return CheckpointError(
            f"{wanted.endpoint} does not let you have {wanted.name!r}", hint="check what your token may read"
        )
    if status == 429:
        return DownloadError(
            f"{wanted.endpoint} answers that there were too many requests", hint="wait a few minutes, or log in"
        )
    return DownloadError(f"{wanted.endpoint} answers with status {status} for {wanted.name!r}", hint="try again later")


def _broken(error: Exception, wanted: Wanted) -> ImglishError:
    """No answer at all, or one that broke off."""
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    cause = error.__cause__ or error
    while isinstance(cause, LocalEntryNotFoundError) and cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(cause, OfflineModeIsEnabled):
        why = "HF_HUB_OFFLINE is set"
    else:
        why = f"{type(cause).__name__}: {str(cause).strip().splitlines()[0] if str(cause).strip() else 'no answer'}"
    kind = type(cause).__name__
    if "Connect" in kind or "Timeout" in kind or "Proxy" in kind:
        return DownloadError(
            f"cannot reach {wanted.endpoint} for {wanted.name!r} ({why})",
            hint="check the network (HTTPS_PROXY, HF_ENDPOINT); "
            "without one give a folder, or leave the model out for the shipped one",
        )
    return DownloadError(f"the download of {wanted.name!r} broke off ({why})", hint=AGAIN)
