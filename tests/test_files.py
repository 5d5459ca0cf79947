"""Files are whole or absent."""

import pytest

from agkd_tf import InputError
from agkd_tf.files import check_archive, read_json, replacing, set_aside


def test_a_file_whose_writing_fails_stays_as_it_was(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def break_off():
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_replaced_once_it_is_whole(tmp_path):
    path = tmp_path / "folder" / "a.txt"
    for text in ("old", "new"):
        with replacing(path) as temporary:
            temporary.write_text(text)
            assert temporary.suffix == ".txt"
            assert path.exists() == (text == "new")
        assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]


def test_files_are_set_aside_together_under_a_number_that_is_free_for_all(tmp_path):
    pair = [tmp_path / "a.npz", tmp_path / "a.json"]
    for number in (1, 2):
        for path in pair:
            path.write_text(f"{path.suffix} {number}")
        assert set_aside(*pair) == [tmp_path / f"a.previous-{number}{suffix}" for suffix in (".npz", ".json")]
    pair[1].write_text("alone")
    (tmp_path / "a.previous-3.npz").write_text("of a crash in between")
    set_aside(*pair)
    assert (tmp_path / "a.previous-1.npz").read_text() == ".npz 1"
    assert (tmp_path / "a.previous-2.json").read_text() == ".json 2"
    assert (tmp_path / "a.previous-4.json").read_text() == "alone"
    assert not any(path.exists() for path in pair)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1] 2"])
def test_json_that_is_none_is_refused_by_its_path(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.json is not JSON, or is damaged"):
        read_json(tmp_path / "a.json")


def test_json_of_something_else_is_refused(tmp_path):
    (tmp_path / "a.json").write_text("{}")
    assert read_json(tmp_path / "a.json") == {}
    with pytest.raises(InputError, match=r"a\.json is not JSON, or is damaged; move it away: it holds a dict"):
        read_json(tmp_path / "a.json", list)


@pytest.mark.parametrize("content", [b"", b"PK", bytes(range(256))])
def test_what_is_no_archive_is_told_of(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match="not a zip archive, or damaged"):
        check_archive(tmp_path / "a.npz")
    with pytest.raises(FileNotFoundError):
        check_archive(tmp_path / "b.npz")
