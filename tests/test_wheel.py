"""What `python -m build` makes: sources that the wheel is built from, and a wheel with the whole library and nothing
beside it, with which the pages' Python runs.
"""

import ast
import importlib.metadata
import json
import os
import pathlib
import posixpath
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile

import pytest
from packaging.metadata import Metadata
from packaging.requirements import Requirement

from agkd_tf.version import __version__
from tests import readme
from tests.documentation import PAGES, ROOT, python_blocks

LIBRARY = [path for path in (ROOT / "agkd_tf").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
NOT_BUILT_FROM = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "runs")


def imported(path):
    """Yields the names of the modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def test_the_library_imports_nothing_that_is_not_installed_with_it():
    packages = {name.partition(".")[0] for path in LIBRARY if path.suffix == ".py" for name in imported(path)}
    owners = importlib.metadata.packages_distributions()
    required = {requirement.name.lower().replace("_", "-") for requirement in requirements()}
    from_elsewhere = packages - sys.stdlib_module_names - {"agkd_tf"}
    assert {"tensorflow", "keras", "numpy"} <= from_elsewhere
    unknown = {
        name
        for name in from_elsewhere
        if required.isdisjoint(owner.lower().replace("_", "-") for owner in owners.get(name, []))
    }
    assert not unknown


def requirements():
    lines = (line.partition("#")[0].strip() for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines())
    return {Requirement(line) for line in lines if line}


def run(*command, **settings):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **settings)
    if "No matching distribution found for setuptools" in done.stdout + done.stderr:
        pytest.skip("no package index is at hand, and without setuptools no wheel can be built")
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with a copy of this checkout, the sources that `build` makes of it, and the wheel of these sources."""
    folder = tmp_path_factory.mktemp("built")
    shutil.copytree(ROOT, folder / "checkout", ignore=NOT_BUILT_FROM)  # building leaves files behind
    run(sys.executable, "-m", "build", f"--outdir={folder}", folder / "checkout", cwd=folder)
    return folder


@pytest.fixture
def wheel(built):
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture
def sources(built):
    """The names of the files that the sources have, below their one folder."""
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = [member.name for member in archive if member.isfile()]
    top = f"agkd_tf-{__version__}/"
    assert all(name.startswith(top) for name in names)
    return {name.removeprefix(top) for name in names}


@pytest.fixture
def metadata(wheel):
    """The wheel's metadata, which is checked as a package index would."""
    with zipfile.ZipFile(wheel) as archive:
        return Metadata.from_email(archive.read(f"agkd_tf-{__version__}.dist-info/METADATA"), validate=True)


@pytest.mark.slow
def test_the_sources_have_what_builds_the_wheel_and_what_a_release_says_of_itself(sources):
    assert {path.relative_to(ROOT).as_posix() for path in LIBRARY} <= sources
    assert {"pyproject.toml", "requirements.txt", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff"} <= sources


@pytest.mark.slow
def test_the_sources_have_the_files_that_the_pages_link_and_those_of_their_commands(sources, built):
    pages = {name for name in sources if name.endswith(".md")}
    assert pages >= {path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"))}
    linked = {posixpath.join(posixpath.dirname(page), link) for page in pages for link in links(ROOT / page)}
    there = {posixpath.normpath(link) for link in linked if (ROOT / link).is_file()}  # all are, by tests/test_readme.py
    assert there
    assert there <= sources
    checkout = built / "checkout"
    for folder in ("flags", "tests", "tools"):
        files = {path.relative_to(checkout).as_posix() for path in (checkout / folder).rglob("*") if path.is_file()}
        assert files
        assert files == {name for name in sources if name.startswith(f"{folder}/")}


def links(page):
    """Returns the files that a page's links and pictures lead to, as they stand there."""
    found = re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8"))
    return [link for link in found if "://" not in link]


@pytest.mark.slow
def test_the_wheel_has_every_file_of_the_library_and_no_other(wheel):
    files = set(zipfile.ZipFile(wheel).namelist())
    metadata = {name for name in files if name.startswith(f"agkd_tf-{__version__}.dist-info/")}
    assert files - metadata == {path.relative_to(ROOT).as_posix() for path in LIBRARY}
    assert "agkd_tf/py.typed" in files
    assert any(name.endswith("/LICENSE") for name in metadata)


@pytest.mark.slow
def test_the_wheel_names_what_it_requires(metadata):
    of_an_extra = [requirement for requirement in metadata.requires_dist if requirement.marker]
    assert set(metadata.requires_dist) - set(of_an_extra) == requirements()
    assert set(str(metadata.requires_python).split(",")) == {">=3.11", "<3.14"}
    assert metadata.provides_extra == ["gpu"]
    assert of_an_extra == [Requirement('tensorflow[and-cuda]; extra == "gpu"')]


@pytest.mark.slow
def test_the_wheel_says_what_it_is(metadata):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (metadata.name, str(metadata.version)) == ("agkd-tf", __version__)
    assert metadata.summary == project["description"]
    assert metadata.license_expression == "Apache-2.0"
    assert metadata.classifiers == project["classifiers"]
    assert metadata.project_urls == project["urls"]
    assert metadata.description_content_type == "text/markdown"
    assert metadata.description.strip() == (ROOT / "README.md").read_text(encoding="utf-8").strip()


@pytest.mark.slow
def test_the_pages_python_runs_where_the_wheel_is_installed_and_no_checkout_is(wheel, tmp_path):
    environment, folder = tmp_path / "environment", tmp_path / "elsewhere"
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    run(sys.executable, "-m", "pip", f"--python={environment}", "install", "--no-deps", "--no-index", wheel)
    # What the library requires, hundreds of megabytes, is that of the environment that runs the tests.
    (packages,) = environment.glob("lib/python*/site-packages")
    lent = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    (packages / "lent.pth").write_text("\n".join(sorted(lent)) + "\n")
    folder.mkdir()
    pages = [page for page in PAGES if python_blocks(page)]
    for file in (*pages, readme.__file__):
        shutil.copy(file, folder)
    python, settings = environment / "bin" / "python", {"cwd": folder, "env": without_python(os.environ)}
    versions = "import agkd_tf, importlib.metadata as m; print(agkd_tf.__version__, m.version('agkd-tf'))"
    assert run(python, "-I", "-c", versions, **settings).split() == [__version__, __version__]
    run(python, "-I", "readme.py", *(page.name for page in pages), **settings)
    assert (folder / "defended.keras").is_file()
    files = json.loads((folder / "imported.json").read_text())
    own = {pathlib.Path(file) for name, file in files.items() if name.partition(".")[0] == "agkd_tf"}
    assert own
    assert all(path.is_relative_to(packages) for path in own)
    assert not {name for name in files if name.partition(".")[0] in ("tools", "tests")}


def without_python(variables):
    return {name: value for name, value in variables.items() if not name.startswith("PYTHON")}
