"""Every code block of the README and of docs/, and every example, runs as written.

A block that cannot run here (it installs, downloads, or takes minutes) says so in a comment of its own line above it:
`<!-- not run: why -->`. Blocks of one file run in order in one folder, so a later one can use what an earlier one made.
An example that loads a published checkpoint gets a small one of that name, from a hub on this machine.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from hub_server import Hub, serve
from published import FOLDERS, PUBLISHED, brief

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
FENCE = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^>]*?) -->\n+)?```(?P<language>python|bash|sh|console)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
RUN = {
    "python": [sys.executable, "-W", "error::DeprecationWarning:__main__", "-"],
    "bash": ["bash", "-euo", "pipefail"],
}


@dataclass(frozen=True)
class Block:
    language: str
    code: str
    line: int
    reason: str | None


def blocks(text: str) -> list[Block]:
    """The fenced python and shell blocks of a page."""
    return [
        Block(
            "python" if found["language"] == "python" else "bash",
            found["code"],
            text.count("\n", 0, found.start("code")) + 1,
            found["reason"],
        )
        for found in FENCE.finditer(text)
    ]


def environment() -> dict[str, str]:
    """This interpreter first on the path; no hub is asked for anything."""
    source = str(ROOT / "src")
    inherited = os.environ.get("PYTHONPATH")
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{source}{os.pathsep}{inherited}" if inherited else source,
        "HF_HUB_OFFLINE": "1",
    }


def run(block: Block, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        RUN[block.language],
        input=block.code,
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_block_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.reason is None:
            done = run(block, tmp_path)
            assert done.returncode == 0, f"{page.name}:{block.line}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_fence_has_a_language_and_every_skip_a_reason(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    opening = re.findall(r"^```(.*)$", text, re.MULTILINE)[::2]
    assert all(opening), f"{page.name}: a fence without a language; plain text is ```text"
    assert all(block.reason is None or len(block.reason) > 3 for block in blocks(text))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_inside_the_project_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def published(code: str, hub: Hub, folder: Path) -> dict[str, str]:
    """Small checkpoints under the names that this code loads, and the environment in which it finds them."""
    loaded = re.findall(r'load\("([^"]+)"\)', code)
    for name in loaded:
        if name in PUBLISHED:
            hub.add(name, brief(PUBLISHED[name]()))
        elif name in FOLDERS:
            (folder / name).mkdir()
            for path, data in brief(FOLDERS[name]()).items():
                (folder / name / path).write_bytes(data)
    return hub.variables(folder / "hub", HF_HOME=str(folder / "home")) if hub.repositories else {}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_every_example_runs_and_is_short(example: Path, tmp_path: Path) -> None:
    code = example.read_text(encoding="utf-8")
    assert len(code.splitlines()) < 40
    with serve() as hub:
        done = subprocess.run(
            [sys.executable, str(example)],
            cwd=tmp_path,
            env=environment() | published(code, hub, tmp_path),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
    assert done.returncode == 0, done.stderr
    assert not hub.repositories or hub.downloaded()


def test_a_block_that_fails_is_seen(tmp_path: Path) -> None:
    page = "x\n\n```python\nimport nonsense\n```\n\n"
    page += "<!-- not run: needs a network -->\n```bash\nfalse\n```\n\n```sh\nfalse\n```\n"
    first, second, third = blocks(page)
    assert (first.language, first.line, second.reason, third.reason) == ("python", 4, "needs a network", None)
    assert run(first, tmp_path).returncode != 0
    assert run(third, tmp_path).returncode != 0


def test_a_shell_block_finds_the_command_line(tmp_path: Path) -> None:
    done = run(Block("bash", "python -m imglish.cli version\n", 1, None), tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("imglish ")
