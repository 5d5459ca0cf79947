"""What `pip install .` installs: the whole library, nothing beside it, and the pages' Python runs with it."""

import ast
import importlib.metadata
import json
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import zipfile

import pytest
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
    if "No matching distribution found for setuptools" in done.stderr:
        pytest.skip("no package index is at hand, and without setuptools no wheel can be built")
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel that pip builds of the files of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, folder / "checkout", ignore=NOT_BUILT_FROM)  # building leaves files behind
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", f"--wheel-dir={folder}", folder / "checkout")
    (path,) = folder.glob("*.whl")
    return path


@pytest.mark.slow
def test_the_wheel_has_every_file_of_the_library_and_no_other(wheel):
    files = set(zipfile.ZipFile(wheel).namelist())
    metadata = {name for name in files if name.startswith(f"agkd_tf-{__version__}.dist-info/")}
    assert files - metadata == {path.relative_to(ROOT).as_posix() for path in LIBRARY}
    assert "agkd_tf/py.typed" in files
    assert any(name.endswith("/LICENSE") for name in metadata)


@pytest.mark.slow
def test_the_wheel_names_what_it_requires(wheel):
    (found,) = importlib.metadata.distributions(name="agkd_tf", path=[str(wheel)])
    assert {Requirement(line) for line in found.requires} == requirements()
    assert set(found.metadata["Requires-Python"].split(",")) == {">=3.11", "<3.14"}


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
    names = [page.name for page in pages]
    run(environment / "bin" / "python", "-I", "readme.py", *names, cwd=folder, env=without_python(os.environ))
    assert (folder / "defended.keras").is_file()
    assert (folder / "defended_of_bytes.keras").is_file()
    files = json.loads((folder / "imported.json").read_text())
    own = {pathlib.Path(file) for name, file in files.items() if name.partition(".")[0] == "agkd_tf"}
    assert own
    assert all(path.is_relative_to(packages) for path in own)
    assert not {name for name in files if name.partition(".")[0] in ("tools", "tests")}


def without_python(variables):
    return {name: value for name, value in variables.items() if not name.startswith("PYTHON")}
