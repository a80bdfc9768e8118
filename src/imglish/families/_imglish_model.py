"""The shipped family's model: built small, loaded whole, asked how well it knows what it sees. Imports torch late."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imglish.core.errors import CheckpointError
from imglish.core.results import OUT_OF_WORLD, Problem, Receipt
from imglish.families._base import Loaded, Seen
from imglish.families._imglish_text import FRAME, SKILLS, SPECIAL_TOKENS

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

    from imglish.families._familiar import Familiarity
    from imglish.nn import Bridge, BridgeProcessor


def train_tokenizer(texts: Iterable[str], *, size: int) -> Tokenizer:
    """A byte-level BPE of at most `size` tokens, the special ones first. Digits stay single; any text encodes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def wrap_tokenizer(tokenizer: Tokenizer) -> Any:
    """The tokenizer as transformers knows it."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def tiny() -> tuple[Bridge, BridgeProcessor]:
    """A random model of the shipped shape, only narrow; the same each time."""
    import torch
    from transformers import LlamaConfig

    from imglish.nn import Bridge, BridgeConfig, BridgeProcessor, SightConfig

    words = ["a red cat, a blue dog and the yellow star", "How many?", "brief normal full", "kot, mèo, кошка"]
    tokenizer = wrap_tokenizer(train_tokenizer(words, size=len(SPECIAL_TOKENS) + 300))
    config = BridgeConfig(
        vision_config=SightConfig(
            image_size=FRAME, widths=(4, 8, 8, 16), blocks=(0, 0, 0), layers=1, heads=2, map_size=8
        ),
        text_config=LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=2048,
            initializer_range=0.3,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            tie_word_embeddings=True,
        ),
        adapter="mlp",
        frame_adapter="pool",
        frame_adapter_options={"window": [3, 4]},
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        initializer_range=0.3,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Bridge(config).eval()
    return model, BridgeProcessor.for_bridge(config, tokenizer)


def load(checkpoint: str, *, device: str, dtype: str) -> tuple[Bridge, BridgeProcessor, Familiarity | None]:
    """The model of a folder, its processor, and what it is used to seeing."""
    import torch
    from safetensors import SafetensorError

    from imglish.families._familiar import Familiarity
    from imglish.nn import Bridge, BridgeProcessor

    folder = Path(checkpoint)
    if not any(folder.glob("*.safetensors")):
        found = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
        raise CheckpointError(
            f"{folder} has no weights as safetensors, and no other form is read; it has {found}",
            hint="save them with model.save_pretrained(folder)",
        )
    precision = getattr(torch, dtype)
    try:
        with _quiet():
            model, report = Bridge.from_pretrained(
                folder, dtype=precision, use_safetensors=True, local_files_only=True, output_loading_info=True
            )
            processor = BridgeProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        raise CheckpointError(f"cannot load {folder}: {error}") from error
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report.get(what):
            names = sorted(str(key[0] if isinstance(key, tuple) else key) for key in report[what])
            more = f" and {len(names) - 8} more" if len(names) > 8 else ""
            raise CheckpointError(f"{folder} has {what.replace('_', ' ')}: {', '.join(names[:8])}{more}")
    vocabulary = processor.tokenizer.get_vocab()
    absent = [token for token in SPECIAL_TOKENS if token not in vocabulary]
    if absent:
        raise CheckpointError(
            f"the tokenizer in {folder} lacks {len(absent)} special tokens of the family 'imglish', first {absent[0]}"
        )
    model = model.to(device).eval()
    return model, processor, Familiarity.read(folder, device)


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bar and no report of transformers: what is wrong with a checkpoint is said by the error."""
    from transformers.utils import logging

    level, shown = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()


_SMOL = "HuggingFaceTB/SmolVLM-256M-Instruct"
ELSEWHERE = {  # for photographs: what is typed behind the verb and the picture, and a small checkpoint with that skill
    "ask": (' "..."', _SMOL),
    "chat": ("", _SMOL),
    "count": (" THING", _SMOL),
    "extract": (" --schema FIELDS", "Qwen/Qwen3-VL-2B-Instruct"),
    "watch": (' "..."', "HuggingFaceTB/SmolVLM2-256M-Video-Instruct"),
    "ground": (' "..."', "microsoft/Florence-2-base"),
    "segment": (' "..."', "microsoft/Florence-2-base"),
    "identify": (" --box X1,Y1,X2,Y2", "microsoft/Florence-2-base"),
    **dict.fromkeys(("caption", "detect", "read"), ("", "microsoft/Florence-2-base")),
}
TOGETHER = 16  # pictures encoded at once: what the encoder needs meanwhile does not grow with a long prompt


def look(
    loaded: Loaded, tensors: dict[str, Any], receipts: Sequence[Receipt], *, kept: MutableMapping[Any, Any]
) -> tuple[dict[str, Any], list[Seen]]:
    """Encodes each picture once: `pixel_values` become `image_features`; a warning for rows with an unfamiliar one."""
    if "pixel_values" not in tensors:
        return tensors, [Seen() for _ in receipts]
    rest = {name: value for name, value in tensors.items() if name not in ("pixel_values", "frame_mask")}
    known: Familiarity | None = loaded.extra.get("familiarity")
    rule = known.digest if known is not None else ""  # the weights and their state stand in what `kept` adds to a key
    rows = [[(image.content_hash, image.frame is not None, rule) for image in receipt.images] for receipt in receipts]
    keys = [key for row in rows for key in row]
    found = {key: value for key in dict.fromkeys(keys) if (value := kept.get(key)) is not None}
    hits = [sum(key in found for key in row) for row in rows]
    fresh = list({key: place for place, key in reversed([*enumerate(keys)]) if key not in found}.items())
    for start in range(0, len(fresh), TOGETHER):
        some = fresh[start : start + TOGETHER]
        places = [place for _, place in some]
        frames = tensors["frame_mask"][places] if "frame_mask" in tensors else None
        encoded = _encode(loaded, tensors["pixel_values"][places], frames, known)
        for (key, _), value in zip(some, encoded, strict=True):
            found[key] = kept[key] = value
    rest["image_features"] = [found[key][0] for key in keys]
    skills = _skills(loaded, tensors)
    doubts = [_doubts([float(found[key][1]) for key in row], skill) for row, skill in zip(rows, skills, strict=True)]
    return rest, [Seen(problems, count) for problems, count in zip(doubts, hits, strict=True)]


def _encode(
    loaded: Loaded, pixels: torch.Tensor, frames: torch.Tensor | None, known: Familiarity | None
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(features, familiarity) of each picture: tensors both, as a shelf keeps nothing else."""
    import torch

    from imglish.families._familiar import traits, watched

    if known is None:
        with torch.inference_mode():
            return [(feature.clone(), torch.ones(())) for feature in loaded.model.encode_images(pixels, frames)]
    with torch.inference_mode(), watched(loaded.model.vision) as seen:
        features = loaded.model.encode_images(pixels, frames)
        familiar = known.familiarity(traits(pixels, *seen)).cpu()
    return [(feature.clone(), value.clone()) for feature, value in zip(features, familiar, strict=True)]


def _skills(loaded: Loaded, tensors: dict[str, Any]) -> list[str]:
    """What each prompt asks for: its last skill token; a conversation has several."""
    names = dict(zip(loaded.tokenizer.convert_tokens_to_ids([f"<{skill}>" for skill in SKILLS]), SKILLS, strict=True))
    asked = [[names[token] for token in row if token in names] for row in tensors["input_ids"].tolist()]
    return ["chat" if len(row) > 1 else row[-1] for row in asked]


def _doubts(familiar: list[float], skill: str) -> tuple[Problem, ...]:
    worst = min(familiar, default=1.0)
    if worst >= 1:
        return ()
    which = f"picture {familiar.index(worst) + 1} of {len(familiar)}" if len(familiar) > 1 else "this picture"
    more, checkpoint = ELSEWHERE[skill]
    message = (
        f"{which} is unlike the drawn world that the shipped model was trained on (familiarity {worst:.2f}, below 1); "
        f"for photographs use a published checkpoint: imglish {skill} photo.jpg{more} --model {checkpoint}"
    )
    return (Problem(OUT_OF_WORLD, message),)
