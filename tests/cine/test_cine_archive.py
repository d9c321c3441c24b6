import stat
import struct
import zipfile

import pytest

from cof.cine import archive
from cof.cine.archive import read_members
from cof.errors import CofError, Reason


def refused(path) -> str:
    with pytest.raises(CofError) as caught:
        list(read_members(path))
    assert caught.value.reason is Reason.CINE_UNREADABLE
    return str(caught.value)


def packed(path, members, kind=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", kind) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def test_members_come_sorted_and_hidden_ones_not_at_all(tmp_path):
    path = packed(tmp_path / "a.zip", {"b/2.dcm": b"2", "a.dcm": b"1", "__MACOSX/._a.dcm": b"x", "b/": b""})
    assert list(read_members(path)) == [("a.dcm", b"1"), ("b/2.dcm", b"2")]


def test_a_folder_reads_alike(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b/2.dcm").write_bytes(b"2")
    (tmp_path / "a.dcm").write_bytes(b"1")
    (tmp_path / ".hidden").write_bytes(b"x")
    assert list(read_members(tmp_path)) == [("a.dcm", b"1"), ("b/2.dcm", b"2")]


def test_nothing_there_is_missing(tmp_path):
    with pytest.raises(CofError) as caught:
        list(read_members(tmp_path / "none.zip"))
    assert caught.value.reason is Reason.CINE_MISSING


@pytest.mark.parametrize("name", ["../up.dcm", "/etc/x.dcm", "a/../../x.dcm", "..\\x.dcm", "C:\\x.dcm"])
def test_members_that_point_out_of_the_archive_are_refused(tmp_path, name):
    assert "points out" in refused(packed(tmp_path / "a.zip", {name: b"1"}))


def test_a_link_in_an_archive_is_refused(tmp_path):
    link = zipfile.ZipInfo("link.dcm")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr(link, "/etc/passwd")
    assert "link" in refused(tmp_path / "a.zip")


def test_a_link_out_of_a_folder_is_refused_and_one_within_is_not(tmp_path):
    (tmp_path / "secret.dcm").write_bytes(b"secret")
    folder = tmp_path / "cine"
    folder.mkdir()
    (folder / "a.dcm").write_bytes(b"1")
    (folder / "b.dcm").symlink_to(folder / "a.dcm")
    assert len(list(read_members(folder))) == 2
    (folder / "c.dcm").symlink_to(tmp_path / "secret.dcm")
    assert "leads out" in refused(folder)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_a_truncated_archive_is_refused(tmp_path, kept):
    path = packed(tmp_path / "a.zip", {f"{n}.dcm": bytes(range(256)) * n for n in range(20)})
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    assert "broken" in refused(path)


def test_a_changed_byte_is_noticed(tmp_path):
    path = packed(tmp_path / "a.zip", {"a.dcm": b"0123456789" * 10}, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[60] ^= 1
    path.write_bytes(content)
    assert "broken" in refused(path)


def test_an_encrypted_archive_is_refused(tmp_path):
    path = packed(tmp_path / "a.zip", {"a.dcm": b"1"})
    content = bytearray(path.read_bytes())
    directory = content.index(b"PK\x01\x02")
    content[directory + 8 : directory + 10] = struct.pack("<H", 1)
    path.write_bytes(content)
    assert "encrypted" in refused(path)


@pytest.mark.parametrize(
    ("limit", "value", "said"),
    [
        ("MAX_MEMBERS", 2, "3 files"),
        ("MAX_MEMBER_BYTES", 99_999, "too large"),
        ("MAX_TOTAL_BYTES", 299_999, "too large"),
        ("RATIO_FROM_BYTES", 1000, "compressed beyond"),
    ],
)
def test_archives_beyond_the_limits_are_refused_before_they_are_unpacked(tmp_path, monkeypatch, limit, value, said):
    path = packed(tmp_path / "a.zip", {f"{n}.dcm": bytes(100_000) for n in range(3)})
    assert len(list(read_members(path))) == 3
    monkeypatch.setattr(archive, limit, value)
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("unpacked"))
    assert said in refused(path)


def forged(path, offset, form, value):
    """An archive of two members whose directory lies about the second."""
    packed(path, {"a.dcm": b"0123456789" * 1000, "b.dcm": bytes(100_000)})
    content = bytearray(path.read_bytes())
    struct.pack_into(form, content, content.rindex(b"PK\x01\x02") + offset, value)
    path.write_bytes(content)
    return path


def test_a_member_that_unpacks_to_more_than_it_says_is_read_no_further(tmp_path):
    assert "broken" in refused(forged(tmp_path / "a.zip", 24, "<I", 10))


def test_members_that_overlap_are_refused(tmp_path):
    assert "overlap" in refused(forged(tmp_path / "a.zip", 42, "<I", 0))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_cannot_be_stopped_at_a_size_are_refused(tmp_path, method):
    assert "another method" in refused(packed(tmp_path / "a.zip", {"a.dcm": bytes(1000)}, method))


def test_a_directory_beyond_all_measure_is_refused_unread(tmp_path, monkeypatch):
    path = packed(tmp_path / "a.zip", {"a.dcm": b"1"})
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, content.rindex(b"PK\x05\x06") + 12, 2**30)
    path.write_bytes(content)
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: pytest.fail("read"))
    assert "directory" in refused(path)


def test_a_name_that_is_no_utf8_is_a_broken_archive(tmp_path):
    path = packed(tmp_path / "a.zip", {"\u00e9.dcm": b"1"})
    path.write_bytes(path.read_bytes().replace("\u00e9".encode(), b"\xff\xff"))
    assert "broken" in refused(path)


def test_names_in_a_folder_need_not_be_utf8(tmp_path):
    (tmp_path / b"\xff.dcm".decode("utf-8", "surrogateescape")).write_bytes(b"1")
    assert [content for _, content in read_members(tmp_path)] == [b"1"]


def test_a_member_without_a_name_is_a_broken_archive(tmp_path):
    assert "broken" in refused(forged(tmp_path / "a.zip", 28, "<H", 0))
