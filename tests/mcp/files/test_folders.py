"""Which files may be touched."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from mcp_app.files.folders import FileRefused, Folders, check_writable, read_file, write_new, write_over


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A listed folder beside one that is not, with links and whatever else there is in it."""
    folder = tmp_path / "shared"
    (folder / "deep").mkdir(parents=True)
    (folder / "notes.txt").write_text("hello")
    (folder / "deep" / "ö .txt").write_text("deep")
    (tmp_path / "shared-secret").mkdir()
    (tmp_path / "shared-secret" / "key").write_text("secret")
    (folder / "out").symlink_to(tmp_path / "shared-secret")
    (folder / "key").symlink_to(tmp_path / "shared-secret" / "key")
    (folder / "inside").symlink_to(folder / "notes.txt")
    (folder / "loop").symlink_to(folder / "loop")
    (folder / ".env").write_text("KEY=1")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("x")
    os.mkfifo(folder / "pipe")
    (folder / "device").symlink_to("/dev/zero")
    return folder


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("notes.txt", b"hello"),
        ("{}/notes.txt", b"hello"),
        ("{}/deep/../notes.txt", b"hello"),
        ("./deep/ö .txt", b"deep"),
        ("file://{}/deep/%C3%B6%20.txt", b"deep"),
        ("inside", b"hello"),
        (" {}/notes.txt ", b"hello"),
    ],
)
def test_what_is_below_a_folder_is_read(shared: Path, path: str, content: bytes) -> None:
    assert read_file(Folders([str(shared)]).find(path.format(shared)), 100) == content


@pytest.mark.parametrize(
    "path",
    [
        "../shared-secret/key",
        "{}/../shared-secret/key",
        "{}-secret/key",
        "out/key",
        "{}/out/key",
        "key",
        "/etc/passwd",
        "file:///etc/passwd",
        "file://elsewhere{}/notes.txt",
        "~/x",
        "~nobody-of-that-name/x",
        "device",
        "/dev/zero",
        "/proc/self/environ",
        "deep/../../shared-secret/key",
        ".env",
        ".git/config",
        "{}/.git/../.env",
        "",
        "a\0b",
        "x" * 5000,
    ],
)
def test_what_leads_elsewhere_or_is_hidden_is_refused(shared: Path, path: str) -> None:
    with pytest.raises(FileRefused):
        Folders([str(shared)]).find(path.format(shared))


@pytest.mark.parametrize(
    ("path", "said"),
    [("pipe", "a pipe"), ("deep", "a folder"), ("", "path"), ("nothing", "not there"), ("loop", "link")],
)
def test_what_is_no_file_is_not_opened(shared: Path, path: str, said: str) -> None:
    with pytest.raises(FileRefused, match=said):
        read_file(Folders([str(shared)]).find(path), 100)


def test_a_socket_is_no_file(shared: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        os.chdir(shared)  # the path of a socket is short
        listening.bind("sock")
        with pytest.raises(FileRefused, match="a socket"):
            read_file(Folders([str(shared)]).find("sock"), 100)


def test_a_file_is_read_up_to_its_limit_only(shared: Path) -> None:
    place = Folders([str(shared)]).find("notes.txt")
    assert read_file(place, 5) == b"hello"
    with pytest.raises(FileRefused, match="too large"):
        read_file(place, 4)


def test_a_link_that_is_put_in_a_files_place_after_it_was_judged_is_not_followed(
    shared: Path, tmp_path: Path
) -> None:
    folders = Folders([str(shared)])
    file, deep = folders.find("notes.txt"), folders.find("deep/ö .txt")
    (shared / "notes.txt").unlink()
    (shared / "notes.txt").symlink_to(tmp_path / "shared-secret" / "key")
    (shared / "deep").rename(shared / "moved")
    (shared / "deep").symlink_to(tmp_path / "shared-secret")
    for place in (file, deep):
        with pytest.raises(FileRefused):
            read_file(place, 100)
    for place in (file, deep):
        with pytest.raises(FileRefused):
            write_over(place, b"x")
    assert (tmp_path / "shared-secret" / "key").read_text() == "secret"


def test_a_folder_may_itself_be_named_by_a_link_or_be_hidden(shared: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(shared)
    assert Folders([str(tmp_path / "link")]).find(f"{shared}/notes.txt").name == "notes.txt"
    assert Folders([str(shared / ".git")]).find("config").name == "config"


@pytest.mark.parametrize("listed", [["/"], ["/nothing/there"], ["relative"], []])
def test_no_folder_and_the_root_of_everything_let_nothing_be_read(listed: list[str]) -> None:
    with pytest.raises(FileRefused, match="MCP_FOLDERS"):
        Folders(listed).find("/etc/passwd")


def test_a_new_file_takes_no_others_place(shared: Path) -> None:
    folders = Folders([str(shared)])
    assert write_new(folders.find("new.txt"), b"one")
    assert not write_new(folders.find("new.txt"), b"two")
    assert (shared / "new.txt").read_bytes() == b"one"
    check_writable(folders.find("new.txt"), overwrite=True)
    with pytest.raises(FileRefused, match="overwrite"):
        check_writable(folders.find("new.txt"), overwrite=False)
    write_over(folders.find("new.txt"), b"three")
    assert (shared / "new.txt").read_bytes() == b"three"
    assert not list(shared.glob("*.part"))


@pytest.mark.parametrize("path", ["pipe", "deep", "nothing/new.txt"])
def test_what_cannot_be_written_is_told_before(shared: Path, path: str) -> None:
    with pytest.raises(FileRefused):
        check_writable(Folders([str(shared)]).find(path), overwrite=True)
