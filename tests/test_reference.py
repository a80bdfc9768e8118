"""docs/reference/ is what the docstrings say now, and says something of every public name."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

import pytest

import imglish

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs/reference"


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    # by path: tests/reference is a folder of the same name
    spec = importlib.util.spec_from_file_location("write_reference", ROOT / "recipes/reference.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    result: dict[str, str] = module.pages()
    return result


def test_the_pages_are_those_of_the_docstrings(pages: dict[str, str]) -> None:
    written = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")}
    old = [name for name in pages.keys() | written.keys() if pages.get(name) != written.get(name)]
    assert old == [], "run: python recipes/reference.py"


def test_every_public_name_has_a_place(pages: dict[str, str]) -> None:
    text = "\n".join(pages.values())
    modules = {"SKILLS", "world", "ImglishError", "InputError"}  # a tuple, a module, and the tree that draws its errors
    missing = [name for name in set(imglish.__all__) - modules if f"`imglish.{name}`" not in text]
    assert missing == []


def test_every_error_is_in_the_tree(pages: dict[str, str]) -> None:
    tree = ast.parse((ROOT / "src/imglish/core/errors.py").read_text(encoding="utf-8"))
    names = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    assert [name for name in names if not re.search(rf"\b{name}\b", pages["errors.md"])] == []
    assert "MissingExtra" in names


def test_every_command_is_told(pages: dict[str, str]) -> None:
    for skill in imglish.SKILLS:
        assert f"## imglish {skill}\n" in pages["command-line.md"]
