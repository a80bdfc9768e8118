"""What is known about the published MiniGPT checkpoints."""

from __future__ import annotations

from imglish.families._card import Card, sizes

_REPOSITORY = "https://github.com/Vision-CAIR/MiniGPT-4 (README, eval_configs, minigpt4/models)"
_SIZES = sizes(
    layers=32, hidden=4096, heads=32, ffn=11008, vocab=32000,
    vision_layers=39, vision_hidden=1408, vision_ffn=6144, vision_tokens=1025,
)  # fmt: skip

PITFALLS = (
    "Published as three pieces, two of them pickles: imglish.families.minigpt_v2.convert makes one folder of them.",
    "Boxes are whole hundredths of the squashed picture; a fine-tune that writes pixels, {<167><411>...}, is not read.",
    "It can say that nothing is there only after training here: the word `none`.",
    "A question that begins with one of [vqa] [caption] [grounding] [refer] [identify] [detection] is given as it is.",
    "In a chat, boxes stay as the model writes them, because its next turn reads them.",
    "One picture a conversation; the encoder's last LayerNorm is ones and zeros unless the checkpoint brings it.",
)

CARDS = (
    Card(
        name="Vision-CAIR/MiniGPT-v2",
        family="minigpt_v2",
        parameters=7_748_000_000,
        licence="llama2",
        commercial=True,
        languages=("en",),
        context=4096,
        resolution="448x448",
        skills=frozenset({"ask", "caption", "chat", "count", "detect", "ground", "identify"}),
        source=f"arXiv:2310.09478; {_REPOSITORY}",
        year=2023,
        gated=True,
        note="No repository of the hub: the README of MiniGPT-4 (also MiniGPT-V) links three trained parts on top of "
        "Llama-2-7b-chat; the one called online developing demo is for chat. Code BSD-3.",
        config=_SIZES,
        image_tokens=256,
    ),
    Card(
        name="Vision-CAIR/MiniGPT-4",
        family="minigpt_4",
        parameters=14_110_000_000,
        licence="other",
        commercial=False,
        languages=("en",),
        context=2048,
        resolution="224x224",
        skills=frozenset({"ask", "caption", "chat"}),
        source=f"arXiv:2304.10592; {_REPOSITORY}",
        year=2023,
        runs=False,
        note="The first version, with BLIP-2's Q-Former (32 tokens) and Vicuna-13B; no task identifiers, no boxes.",
        config=sizes(
            layers=40, hidden=5120, heads=40, ffn=13824, vocab=32001,
            vision_layers=39, vision_hidden=1408, vision_ffn=6144, vision_tokens=257,
        ),
        image_tokens=32,
        prompt="###Human: <Img>{image}</Img> {question}###Assistant: ",
    ),
)  # fmt: skip
