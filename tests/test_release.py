"""One version everywhere, and what a release says of itself: CHANGELOG.md, CITATION.cff, pyproject.toml."""

import datetime
import importlib.metadata
import pathlib
import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

import agkd_tf
from agkd_tf.version import __version__

ROOT = pathlib.Path(__file__).resolve().parents[1]
CHANGES = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
# The paper, as the authors of the method give it: "Citing this work" of their code, and the preprint.
AUTHORS = ["Hong Wang", "Yuefan Deng", "Shinjae Yoo", "Haibin Ling", "Yuewei Lin"]


@pytest.fixture(scope="module")
def citation():
    """CITATION.cff, in which dates must be quoted: CFF has them as text."""
    return yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def releases():
    """(version, day) of each release in CHANGELOG.md, newest first."""
    headings = re.findall(r"^## (.+)$", CHANGES, re.MULTILINE)
    found = [re.fullmatch(r"(\d+\.\d+\.\d+) - (\d{4}-\d\d-\d\d)", each) for each in headings]
    assert all(found[1:]), f"a release's heading is ## VERSION - YYYY-MM-DD. Received: {headings}"
    assert found[0] or headings[0] == "Unreleased"
    return [(match[1], datetime.date.fromisoformat(match[2])) for match in found if match]


def test_the_version_is_written_in_one_file_and_the_same_everywhere(citation, releases):
    assert str(Version(__version__)) == __version__
    assert agkd_tf.__version__ == __version__
    assert "version" in PROJECT["dynamic"]
    assert PYPROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "agkd_tf.version.__version__"}
    assert citation["version"] == __version__
    assert releases[0][0] == __version__


def test_the_changes_are_newest_first_and_each_release_has_its_own_day(citation, releases):
    assert releases == sorted(releases, key=lambda each: (Version(each[0]), each[1]), reverse=True)
    assert len({version for version, _ in releases}) == len(releases)
    assert citation["date-released"] == releases[0][1].isoformat()


def test_the_citation_describes_this_software(citation):
    required = {"cff-version", "message", "title", "authors"}
    assert required | {"abstract", "keywords", "type", "license", "version", "date-released"} <= citation.keys()
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert citation["license"] == PROJECT["license"]
    assert citation["keywords"] == PROJECT["keywords"]
    assert citation["authors"] == PROJECT["authors"]
    assert "preferred-citation" not in citation  # it would be cited in this software's place, which others wrote


def test_the_citation_describes_the_paper_of_the_method_apart(citation):
    (paper,) = citation["references"]
    assert paper["type"] == "conference-paper"
    assert paper["year"] == 2021
    assert [f"{author['given-names']} {author['family-names']}" for author in paper["authors"]] == AUTHORS
    assert paper["title"].startswith("AGKD-BML: ")
    assert paper["url"] in PROJECT["urls"].values()
    assert [each["value"] for each in paper["identifiers"]] == [
        paper["url"].replace("https://arxiv.org/abs/", "arXiv:")
    ]


def test_the_extra_for_gpus_is_one_that_tensorflow_has():
    (requirement,) = map(Requirement, PROJECT["optional-dependencies"]["gpu"])
    assert requirement.name == "tensorflow"
    assert requirement.extras
    assert requirement.extras <= set(importlib.metadata.metadata("tensorflow").get_all("Provides-Extra"))


def test_the_classifiers_name_the_versions_of_python_that_are_allowed():
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    allowed = Requirement(f"python{PROJECT['requires-python']}").specifier
    assert named == [version for version in (f"3.{minor}" for minor in range(30)) if version in allowed]
