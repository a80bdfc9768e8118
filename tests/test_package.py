"""The package as a user meets it: public names, what importing costs, what it needs installed."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import imglish

ROOT = Path(__file__).parent.parent
SOURCE = Path(imglish.__file__).parent
HEAVY = ("torch", "transformers", "matplotlib", "supervision")


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def modules() -> list[str]:
    names = [path.relative_to(SOURCE.parent).with_suffix("").parts for path in sorted(SOURCE.rglob("*.py"))]
    return [".".join(parts[:-1] if parts[-1] == "__init__" else parts) for parts in names]


def requirements(*extras: str) -> set[str]:
    """The distributions that pyproject.toml asks for, in lower case with dashes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    return {re.split(r"[^\w.-]", line)[0].lower().replace("_", "-") for line in lines}


def test_what_is_visible_is_what_is_public() -> None:
    assert dir(imglish) == sorted(imglish.__all__)
    bare = "import imglish; print(sorted(name for name in vars(imglish) if not name.startswith('_')))"
    assert set(ast.literal_eval(python(bare))) - {"annotations", "TYPE_CHECKING"} == set()


def test_there_are_at_most_twenty_public_names() -> None:
    assert len(imglish.__all__) <= 20
    assert len(set(imglish.__all__)) == len(imglish.__all__)


@pytest.mark.parametrize("name", imglish.__all__)
def test_a_public_name_leads_to_something(name: str) -> None:
    assert getattr(imglish, name) is getattr(imglish, name)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = imglish.nonsense


def test_the_version_is_the_installed_one() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", imglish.__version__)
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## [Unreleased]" in changes or f"## [{imglish.__version__}]" in changes


@pytest.mark.parametrize("module", ["imglish", "imglish.cli"])
def test_the_package_is_a_command(module: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"imglish {imglish.__version__}\n", "")


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert python(f"import imglish, sys; print([n for n in {HEAVY} + ('numpy', 'PIL') if n in sys.modules])") == "[]"


@pytest.mark.parametrize(
    "arguments", [["--help"], ["ask", "--help"], ["world", "--help"], ["models"], ["version"], ["--version"]]
)
def test_help_and_lists_load_nothing_heavy(arguments: list[str]) -> None:
    code = f"import sys; from imglish.cli import main; assert main({arguments}) == 0"
    assert python(f"{code}; print([n for n in {HEAVY} if n in sys.modules])") == "[]"


def test_every_module_imports_without_the_extras() -> None:
    base = requirements()
    optional = {
        module
        for module, owners in packages_distributions().items()
        if {owner.lower().replace("_", "-") for owner in owners}
        & (requirements("train", "evaluate", "serve", "scale", "dev") - base - {"scipy"})  # supervision brings scipy
    }
    assert "pytest" in optional
    code = f"""
import importlib, sys
class Without:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in {sorted(optional)} else self.finder.find_spec(name, path, target)
sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
for name in {modules()}:
    importlib.import_module(name)
print("all")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("all")


def test_what_is_imported_is_declared() -> None:
    owners = packages_distributions()
    declared = requirements("train", "evaluate", "serve", "scale") | {"imglish"}
    foreign = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                foreign |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                foreign.add((node.module or "").split(".")[0])
    foreign -= set(sys.stdlib_module_names) | {"imglish"}
    undeclared = {
        name for name in foreign if not {o.lower().replace("_", "-") for o in owners.get(name, ())} & declared
    }
    assert undeclared == set()


def test_the_package_holds_its_type_marker() -> None:
    assert (SOURCE / "py.typed").exists()
    assert (SOURCE / "families" / "data").is_dir()


def test_no_source_file_is_remote_code_or_a_pickle() -> None:
    forbidden = re.compile(r"trust_remote_code\s*=\s*True|\bimport pickle\b|(?<![\w.])eval\(|(?<![\w.])exec\(")
    hits = [f"{path}: {hit}" for path in SOURCE.rglob("*.py") for hit in forbidden.findall(path.read_text("utf-8"))]
    assert hits == []


def test_the_tree_in_the_readme_is_up_to_date() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "recipes/tree.py"), "--check"], check=False)
    assert done.returncode == 0, "run: python recipes/tree.py"
