"""Writes the tree of the package into README.md: every file with the first line of its own docstring.

python recipes/tree.py            # after adding, moving or renaming a file
python recipes/tree.py --check    # status 1 where README.md is out of date
"""

from __future__ import annotations

import argparse
import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- tree: written by recipes/tree.py -->", "<!-- end of tree -->"
FOLDERS = ("src/imglish", "recipes", "benchmarks", "examples")
WIDTH = 34
SUFFIXES = (".py", ".c", ".h")


def comment(file: Path) -> str:
    """What a file says of itself, in one line."""
    code = file.read_text(encoding="utf-8")
    begun = code.removeprefix("/* ").split("*/")[0]
    text = begun if file.suffix in (".c", ".h") else ast.get_docstring(ast.parse(code)) or ""
    line = text.split("\n\n")[0].replace("\n", " ").split(". ")[0].rstrip(".")
    return line if len(line) <= 96 else line[: line.rfind(" ", 0, 93)].rstrip(",:;") + " ..."


def lines(folder: Path, depth: int) -> list[str]:
    """The files of a folder, then its folders."""
    rows = []
    for file in sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES):
        if file.name != "__init__.py":
            rows.append(f"{'  ' * depth + file.name:<{WIDTH}}{comment(file)}".rstrip())
    for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
        start = inner / "__init__.py"
        if any(path.suffix in SUFFIXES for path in inner.iterdir()):
            what = comment(start) if start.exists() else ""
            rows += [f"{'  ' * depth + inner.name + '/':<{WIDTH}}{what}".rstrip(), *lines(inner, depth + 1)]
    return rows


def tree() -> str:
    """The whole tree as a text block."""
    rows = []
    for name in FOLDERS:
        rows += [f"{name}/", *lines(ROOT / name, 1)]
    return "```text\n" + "\n".join(rows) + "\n```"


def page() -> str:
    """README.md with the tree as it is now."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{tree()}\n{END}{after}"


def main() -> int:
    """Parse the command and write, or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    new, file = page(), ROOT / "README.md"
    if parser.parse_args().check:
        return int(new != file.read_text(encoding="utf-8"))
    file.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
