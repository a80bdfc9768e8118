"""Imports point down: the floor table of DESIGN.md, held."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import imglish

SOURCE = Path(imglish.__file__).parent

# the highest floor first; a module may import its own floor's own package and every floor below
FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"__main__"}),
    frozenset({"cli"}),
    frozenset({"build", "train", "evaluate", "serve", "agents"}),
    frozenset({"prompting"}),
    frozenset({"engine"}),
    frozenset({"families"}),
    frozenset({"nn"}),
    frozenset({"tasks", "formats", "world"}),
    frozenset({"metrics"}),
    frozenset({"core"}),
)
WITHOUT_TORCH = ("core", "metrics", "tasks", "formats", "world")
HEAVY = ("torch", "transformers", "matplotlib", "supervision")


def part_of(module: str) -> str:
    """`imglish.world._scene` -> world; what stands next to cli.py with the prefix _cli is the cli."""
    pieces = module.split(".")
    name = pieces[1] if len(pieces) > 1 else ""
    return "cli" if name.startswith("_cli") else name


def floor_of(part: str) -> int:
    return next(index for index, floor in enumerate(FLOORS) if part in floor)


def module_of(path: Path) -> str:
    pieces = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(pieces[:-1] if pieces[-1] == "__init__" else pieces)


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """Every module that the file imports, wherever in the file it does so, with the line."""
    module = module_of(path)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module if path.name == "__init__.py" else module.rpartition(".")[0]
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            if base == "imglish":
                yield from ((node.lineno, f"imglish.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, base


def files() -> list[Path]:
    return sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


def upward(path: Path) -> list[str]:
    """The imports of a file that the table forbids."""
    own = part_of(module_of(path))
    wrong = []
    for line, name in imports_of(path):
        if not name.startswith("imglish."):
            continue
        other = part_of(name)
        if other == own or (not (SOURCE / other).exists() and not (SOURCE / f"{other}.py").exists()):
            continue  # its own package, or a public name that `imglish` itself resolves
        if floor_of(other) <= floor_of(own):
            wrong.append(f"{path.relative_to(SOURCE)}:{line} imports {name}")
    return wrong


def test_every_folder_has_a_floor() -> None:
    known = {name for floor in FLOORS for name in floor}
    assert {part_of(module_of(path)) for path in files()} <= known


def test_imports_point_down() -> None:
    assert [line for path in files() for line in upward(path)] == []


def test_an_upward_import_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "imglish"
    for folder in ("core", "world", "tasks", "train", "serve"):
        (package / folder).mkdir(parents=True)
    (package / "core" / "a.py").write_text("def f():\n    from imglish.world import things\n")
    (package / "tasks" / "a.py").write_text("from imglish.world import things\n")  # beside, not below
    (package / "train" / "a.py").write_text("from imglish import serve, world\nimport imglish.core.errors\n")
    (package / "world" / "a.py").write_text("from . import b\nfrom ..train import a\nfrom ..core import errors\n")
    monkeypatch.setattr(f"{__name__}.SOURCE", package)
    assert [line for path in files() for line in upward(path)] == [
        "core/a.py:2 imports imglish.world",
        "tasks/a.py:1 imports imglish.world",
        "train/a.py:1 imports imglish.serve",
        "world/a.py:2 imports imglish.train",
    ]


def test_the_public_face_is_not_used_inside() -> None:
    # `import imglish` inside the package would pull whatever floor a name happens to live on
    users = [path for path in files() for _, name in imports_of(path) if name == "imglish"]
    assert {part_of(module_of(path)) for path in users} <= {"cli"}


@pytest.mark.parametrize("part", WITHOUT_TORCH)
def test_a_lower_floor_names_neither_torch_nor_transformers(part: str) -> None:
    wrong = [
        f"{path.relative_to(SOURCE)}:{line} imports {name}"
        for path in files()
        if part_of(module_of(path)) == part
        for line, name in imports_of(path)
        if name.split(".")[0] in ("torch", "transformers")
    ]
    assert wrong == []


def test_the_lower_floors_load_nothing_heavy() -> None:
    modules = [module_of(path) for path in files() if part_of(module_of(path)) in WITHOUT_TORCH]
    code = (
        f"import importlib, sys\nfor name in {modules}:\n    importlib.import_module(name)\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
