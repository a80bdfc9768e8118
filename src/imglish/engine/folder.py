"""One skill asked of every picture of a folder: killed at any moment, it goes on where it was when it is started again.

Every picture gets one record (`_folder_file.py`), those that failed with the reason. A picture is known by its name and
its bytes, an answer by all that was asked (`_folder_asking.py`); what has a record with the same of both is left alone.
"""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from PIL import Image

from imglish.core.errors import CheckpointError, ImglishError, InputError, MissingExtra, RemoteError
from imglish.core.images import MAX_PIXELS
from imglish.core.results import TRUNCATED, Result
from imglish.core.types import Request
from imglish.engine import _folder_file
from imglish.engine._folder_asking import Asking, asked, decoding_of
from imglish.engine._folder_file import UNPARSED, Records, wrong_with
from imglish.engine._folder_pictures import Opened, ahead, batches, check_folder, digest_of, pictures, read
from imglish.families._base import Loaded

if TYPE_CHECKING:
    from imglish.engine.vlm import VLM

BATCH = 8  # pictures asked about together; as many are lost, and asked again, when the process is killed
MOST_IN_A_ROW = 16  # failures that are nobody's picture's fault before the run is given up
DEADLINE = "deadline"  # what is wrong with an answer that was not there in time
REFUSALS = (400, 413, 415, 422)  # what a server says of one picture: others may be answered


@dataclass(frozen=True)
class Progress:
    """How far a run is. `rate` is in pictures a second over the last batches, None before the first is done."""

    done: int
    total: int
    failed: int
    rate: float | None = None

    @property
    def left(self) -> float | None:
        """Seconds until the end at this rate."""
        return None if not self.rate else (self.total - self.done) / self.rate


@dataclass
class Summary:
    """What a folder has, and what became of it. All but `answered` counts what earlier runs did, too."""

    out: str
    images: int = 0
    """Pictures in the folder."""
    answered: int = 0
    """Records that this run wrote."""
    kept: int = 0
    """Records of earlier runs that still hold."""
    changed: int = 0
    """Of those answered: pictures that had changed, or were asked again on request."""
    gone: int = 0
    """Records of pictures that are no longer in the folder. They stay."""
    failed: dict[str, int] = field(default_factory=dict)
    """Records without a whole answer, by error; answers that were not there in time are "deadline", those that
    max_tokens cut "truncated", and those that could not be read "unparsed"."""
    passed: dict[str, int] = field(default_factory=dict)
    """Files that are no pictures by their names, by ending; links to folders, which are not entered."""
    left: int = 0
    """Pictures that have no record because the run was cancelled before."""

    @property
    def truncated(self) -> int:
        """Answers that max_tokens cut."""
        return self.failed.get(TRUNCATED, 0)

    @property
    def good(self) -> bool:
        """Whether every picture has a whole answer that could be read."""
        return not self.failed and not self.left

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self) | {"truncated": self.truncated}


class Failure(NamedTuple):
    """Why a picture has no answer. It holds no traceback, and so no tensors."""

    type: str
    message: str
    hint: str = ""
    expected: bool = True


def map_folder(
    vlm: VLM,
    folder: str | os.PathLike[str],
    *,
    skill: str,
    out: str | os.PathLike[str],
    text: str | None = None,
    labels: Sequence[str] | None = None,
    box: Sequence[float] | None = None,
    schema: Any = None,
    detail: str | None = None,
    tone: str | None = None,
    language: str = "en",
    batch: int = BATCH,
    pattern: str | None = None,
    limit: int | None = None,
    retry: bool = False,
    redo: bool = False,
    max_image_pixels: int = MAX_PIXELS,
    progress: Callable[[Progress], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
    **options: Any,
) -> Summary:
    """Asks one skill of every picture in a folder and below, and writes a record of each to `out`, a line of JSON.

    The arguments are those of the skill; `text` is the question, the phrase or the thing. `pattern` takes only names
    like `*.png` or `train/*`, `limit` only the first so many. Start it again with the same arguments and it goes on:
    pictures that changed are asked again, failed ones only with `retry`. Where `out` answers another question, that
    is an InputError that names the difference; `redo` asks all pictures again. Further options are those of `VLM.run`:
    once `cancel` is set the run ends, and what was not answered has no record; `deadline` is that of a batch.
    """
    asking = Asking(skill, text, labels, box, schema, detail, tone, language)
    if batch < 1 or (limit is not None and limit < 1):
        raise InputError(f"batch is {batch} and limit {limit}; allowed are whole numbers from 1")
    whole = asked(vlm, asking, options)
    if whole.get("n", 1) != 1:
        raise InputError(f"n is {whole['n']}, and a record holds one answer", hint="leave n out")
    frames = max(getattr(vlm.loaded.family, "max_frames", 0), 2) if skill == "watch" else 1
    _check(vlm, asking.request([Image.new("RGB", (64, 64))] * frames), options)
    names, passed = pictures(folder, pattern=pattern, apart=Path(out))
    there, names = set(names), names[:limit]
    summary = Summary(str(out), len(names), passed=dict(passed))
    with Records(out).open(whole) as records:
        if records.others and not redo:
            raise _other_question(records, whole)
        root = Path(folder)
        left = _left(records, root, names, whole=whole, again=_again(retry=retry, redo=redo))
        summary.gone = len(records.done.keys() - there)
        summary.changed = sum(name in records.done for name in left)
        records.keep(records.done.keys() - set(left))
        done = [records.done[name] for name in names if name in records.done]
        failed = Counter(one.wrong for one in done if one.wrong)
        summary.kept = len(done)
        pace = _Pace(clock, done=len(done), total=len(names), tell=progress)
        pace.report(0, failed.total())
        opened = (read(root / name, name, frames=frames, most=max_image_pixels) for name in left)
        unexpected, cancel = 0, decoding_of(vlm, options).cancel
        for chosen in ahead(batches(opened, batch)):
            if cancel is not None and cancel.is_set():
                break
            told = [_whole_or_late(answer) for answer in _answers(vlm, asking, chosen, options)]
            answers = [answer for answer in told if answer is not None]
            records.append(_record(one, had, whole) for one, had in zip(chosen, told, strict=True) if had is not None)
            summary.answered += len(answers)
            failed.update(wrong for answer in answers if (wrong := _wrong(answer)))
            pace.report(len(answers), failed.total())
            for answer in answers:
                strange = isinstance(answer, Failure) and not answer.expected
                unexpected = unexpected + 1 if strange else 0
            if unexpected >= MOST_IN_A_ROW:
                raise _given_up(answers[-1], unexpected)
    summary.failed, summary.left = dict(failed), len(names) - summary.kept - summary.answered
    return summary


def check(folder: str | os.PathLike[str], **asking: Any) -> None:
    """Raises InputError where there is no such folder, or the skill does not take these arguments."""
    Asking(**asking)
    check_folder(Path(folder))


def results(out: str | os.PathLike[str]) -> Iterator[tuple[str, Result | None, str]]:
    """(name of a picture, its result, why there is none) of every record of a file, in its order."""
    from imglish.core.results import result_from_json

    for record in _folder_file.read(out):
        if "error" in record:
            yield record["image"], None, f"{record['error']['type']}: {record['error']['message']}"
        else:
            yield record["image"], result_from_json(record["result"]), ""


def _check(vlm: VLM, probe: Request, options: Mapping[str, Any]) -> None:
    """Raises InputError for what would be refused of every picture: a skill, a schema that no guide can follow."""
    vlm.check(probe)
    if isinstance(vlm.loaded, Loaded) and vlm.loaded.model is not None and decoding_of(vlm, options).guided:
        from imglish.engine.constrain import guide_for  # it imports torch, which a model on a server does not need

        guide_for(probe, vlm.loaded)


def _again(*, retry: bool, redo: bool) -> Callable[[str], bool]:
    """Whether a picture whose record has this wrong with it is asked again."""
    return lambda wrong: redo or (retry and wrong not in ("", TRUNCATED, UNPARSED))  # these would come again


def _left(
    records: Records, root: Path, names: Sequence[str], *, whole: Mapping[str, Any], again: Callable[[str], bool]
) -> list[str]:
    """The pictures that have no record, or one of other bytes or another question, or are to be asked again."""
    left = []
    for name in names:
        done = records.done.get(name)
        if done is None or again(done.wrong) or done.key != _key(digest_of(root / name), whole):
            left.append(name)
    return left


def _key(digest: str, whole: Mapping[str, Any]) -> str:
    return blake2b(f"{digest} {sorted(whole.items())}".encode("utf-8", "backslashreplace"), digest_size=16).hexdigest()


def _answers(vlm: VLM, asking: Asking, opened: Sequence[Opened], options: Mapping[str, Any]) -> list[Result | Failure]:
    """An answer or a failure for each."""
    asked_of = [one for one in opened if one.error is None]
    given = iter(_run(vlm, [asking.request(one.frames) for one in asked_of], options))
    return [next(given) if one.error is None else _failure(one.error) for one in opened]


def _run(vlm: VLM, requests: Sequence[Request], options: Mapping[str, Any]) -> list[Result | Failure]:
    """Runs requests together; where that fails, in halves, until what fails is one request.

    On a server every request stands for itself, and none is sent twice because another failed.
    """
    if not requests:
        return []
    if len(requests) > 1 and vlm.loaded.model is None:
        pool = ThreadPoolExecutor(len(requests))
        try:
            return [answer for (answer,) in pool.map(lambda request: _run(vlm, [request], options), requests)]
        except KeyboardInterrupt:
            getattr(vlm, "interrupt", lambda: None)()  # or the server's time limit would be waited for
            raise
        finally:
            pool.shutdown(cancel_futures=True)
    try:
        return list(vlm.run(requests, **{"batch": len(requests), **options}))
    except (CheckpointError, MissingExtra):
        raise  # no picture's fault: the next would fail as well
    except Exception as error:
        if isinstance(error, RemoteError) and error.status not in REFUSALS:
            raise
        failure = _failure(error)  # it stands in the record, and many strange ones in a row end the run
    if len(requests) == 1:
        return [failure]
    half = len(requests) // 2
    return _run(vlm, requests[:half], options) + _run(vlm, requests[half:], options)


def _failure(error: Exception) -> Failure:
    expected = isinstance(error, ImglishError)
    message, hint = (error.message, error.hint) if isinstance(error, ImglishError) else (str(error), "")
    return Failure(type(error).__name__, message, hint, expected)


def _record(opened: Opened, answer: Result | Failure, whole: Mapping[str, Any]) -> dict[str, Any]:
    record = {"image": opened.name, "key": _key(opened.digest, whole), "digest": opened.digest, "asked": whole}
    if isinstance(answer, Failure):
        return record | {"error": {"type": answer.type, "message": answer.message, "hint": answer.hint}}
    return record | {"result": answer.to_json()}


def _wrong(answer: Result | Failure) -> str:
    if isinstance(answer, Failure):
        return answer.type
    return wrong_with(problem.kind for problem in answer.problems)


def _whole_or_late(answer: Result | Failure) -> Result | Failure | None:
    """The answer; a failure where its deadline cut it, and None where the run was cancelled before its end."""
    if isinstance(answer, Failure):
        return answer
    cuts = [problem.message for problem in answer.problems if problem.kind == TRUNCATED]
    if any("cancelled" in message for message in cuts):
        return None
    late = next((message for message in cuts if DEADLINE in message), None)
    return answer if late is None else Failure(DEADLINE, late, "give more time (deadline), or ask again with --retry")


class _Pace:
    """Counts, and measures how quickly."""

    def __init__(
        self, clock: Callable[[], float], *, done: int, total: int, tell: Callable[[Progress], None] | None
    ) -> None:
        self.clock, self.done, self.total, self.tell = clock, done, total, tell
        self.marks: deque[tuple[float, int]] = deque(maxlen=32)

    def report(self, more: int, failed: int) -> None:
        """So many more are done."""
        self.done += more
        self.marks.append((self.clock(), self.done))
        (first, before), (last, now) = self.marks[0], self.marks[-1]
        rate = (now - before) / (last - first) if last > first and now > before else None
        if self.tell is not None:
            self.tell(Progress(self.done, self.total, failed, rate))


def _other_question(records: Records, whole: Mapping[str, Any]) -> InputError:
    before = records.others
    names = [name for name in {**before, **whole} if before.get(name) != whole.get(name)]
    told = "; ".join(f"{name} was {_short(before.get(name))} and is {_short(whole.get(name))}" for name in names)
    return InputError(
        f"'{records.path}' has answers to another question: {told}",
        hint="name another file with out (--out), or ask every picture again with redo (--redo)",
    )


def _short(value: Any) -> str:
    text = "not given" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _given_up(last: Result | Failure, count: int) -> ImglishError:
    what = f"{last.type}: {last.message}" if isinstance(last, Failure) else ""
    return ImglishError(
        f"{count} pictures in a row failed, the last with {what}",
        hint="what was answered is kept; when the cause is gone, go on with retry (--retry)",
    )
