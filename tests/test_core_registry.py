"""Registries and optional packages."""

import sys

import pytest

from imglish.core.errors import InputError, MissingExtra, UnknownName
from imglish.core.extras import has, require
from imglish.core.registry import Registry


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    """A registry over a package with two members, one private file and one member that fails when imported."""
    folder = tmp_path / "zoo_of_tests"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "lynx.py").write_text("class Family:\n    name = 'lynx'\n")
    (folder / "boar.py").write_text("nothing = 0\n")
    (folder / "_base.py").write_text("raise RuntimeError('imported')\n")
    (folder / "broken.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield Registry("zoo_of_tests", what="family", attribute="Family")
    for name in [name for name in sys.modules if name.startswith("zoo_of_tests")]:
        del sys.modules[name]


def test_listing_names_public_files_and_imports_none(zoo):
    assert zoo.names() == ["boar", "broken", "lynx"]
    assert not [name for name in sys.modules if name.startswith("zoo_of_tests.")]


def test_get_imports_the_one_file_and_gives_its_attribute(zoo):
    assert zoo.get("lynx").name == "lynx"
    assert [name for name in sys.modules if name.startswith("zoo_of_tests.")] == ["zoo_of_tests.lynx"]


def test_without_an_attribute_the_module_is_the_member(zoo):
    assert Registry("zoo_of_tests", what="animal").get("boar").nothing == 0


def test_an_unknown_name_is_told_the_nearest(zoo):
    with pytest.raises(UnknownName, match=r"no family 'linx'\. Did you mean 'lynx'\?"):
        zoo.get("linx")


def test_private_files_are_not_members(zoo):
    with pytest.raises(UnknownName):
        zoo.get("_base")
    with pytest.raises(UnknownName):
        zoo.get("../zoo_of_tests/lynx")


def test_a_member_without_the_attribute_is_named(zoo):
    with pytest.raises(InputError, match="'boar' defines no 'Family'"):
        zoo.get("boar")


def test_an_error_inside_a_member_is_its_own(zoo):
    with pytest.raises(RuntimeError, match="imported"):
        zoo.get("broken")


def test_a_users_own_file_is_a_member_by_its_path(zoo, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text("class Family:\n    name = 'mine'\n")
    assert zoo.get(str(mine)).name == "mine"
    assert zoo.get(str(mine)) is zoo.get(str(tmp_path / "." / "mine.py"))
    assert "mine" not in zoo.names()


def test_two_users_files_of_one_name_stay_apart(zoo, tmp_path):
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "mine.py").write_text(f"Family = {number}\n")
    assert [zoo.get(str(tmp_path / str(number) / "mine.py")) for number in (1, 2)] == [1, 2]


def test_a_users_file_that_failed_can_be_mended(zoo, tmp_path):
    mine = tmp_path / "mended.py"
    mine.write_text("raise RuntimeError('once')\n")
    with pytest.raises(RuntimeError, match="once"):
        zoo.get(str(mine))
    mine.write_text("Family = 'a longer file now'\n")
    assert zoo.get(str(mine)) == "a longer file now"


def test_a_path_that_is_not_there_is_named(zoo):
    with pytest.raises(InputError, match=r"nowhere/mine\.py"):
        zoo.get("nowhere/mine.py")


def test_a_package_that_is_installed_comes_through_the_door():
    assert require("json.decoder", extra="train").JSONDecoder
    assert has("json.decoder")


@pytest.mark.parametrize("package", ["no_such_package", "no_such_package.inside", "json.no_such_module"])
def test_an_absent_package_names_its_extra(package):
    with pytest.raises(MissingExtra, match=r"pip install 'imglish\[train\]'"):
        require(package, extra="train")
    assert not has(package)


def test_a_package_that_itself_lacks_something_keeps_its_own_error(tmp_path, monkeypatch):
    (tmp_path / "half_installed.py").write_text("import no_such_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        require("half_installed", extra="train")
