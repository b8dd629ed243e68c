"""Collecting outputs from a tree that a stranger made."""

from __future__ import annotations

import os

import pytest
from sandboxing import hear, report_of, say

from edgesandbox import OutputRefused, linux

#: A number that no kernel has a call for.
NO_CALL = 0xFFFF


@pytest.fixture(autouse=True, params=["openat2", "openat"])
def call(request, monkeypatch):
    """With openat2, and where a filter such as systemd's says that there is none."""
    if request.param == "openat":
        monkeypatch.setattr(linux, "_OPENAT2", NO_CALL)


@pytest.fixture
def tree(spawn):
    """Have a job build an output directory; returns the box, with the job dead."""

    def tree(*entries, program="outputs"):
        box = spawn(program)
        say(box, list(entries) if program == "outputs" else entries[0])
        hear(box)
        assert ("exited", 0) == (report_of(box).outcome, report_of(box).exit_code)
        return box

    return tree


def gather(box, max_files=10, max_bytes=1 << 20):
    return {
        each.name: os.pread(each.fd, 1000, 0)
        for each in box.collect("output", max_files=max_files, max_bytes=max_bytes)
    }


def test_plain_files_are_collected(tree):
    """By name, with their contents."""
    box = tree(["file", "b.txt", "two"], ["file", "a.txt", "one"], ["file", "empty", ""])

    assert [("a.txt", b"one"), ("b.txt", b"two"), ("empty", b"")] == list(gather(box).items())


def test_no_directory_is_no_files(tree):
    """A job that never made its output directory has left nothing."""
    box = tree()

    assert [] == list(box.collect("nothing", max_files=1, max_bytes=1))


@pytest.mark.parametrize(
    ("entries", "complaint"),
    [
        ([["symlink", "passwd", "/etc/passwd"]], "symbolic link"),
        ([["symlink", "up", "../../../etc/passwd"]], "symbolic link"),
        ([["symlink", "magic", "/proc/self/environ"]], "symbolic link"),
        ([["symlink", "dangling", "nowhere"]], "symbolic link"),
        ([["file", "one", "x"], ["hardlink", "two", "one"]], "more than one link"),
        ([["fifo", "pipe"]], "not a plain file"),
        ([["socket", "sock"]], "cannot be read"),
        ([["directory", "nested"]], "not a plain file"),
        ([["sparse", "huge", 200 << 20]], "209715204 bytes, more than"),
        ([["many", "x", 11]], "more than 10 outputs"),
        ([["raw", "ff666f6f"]], "not printable"),
        ([["raw", "610a62"]], "not printable"),
    ],
)
def test_anything_else_is_refused_before_the_first_file(tree, entries, complaint):
    """With one line that says what it was; a good file beside it is not given out."""
    box = tree(["file", "aaa", "good"], *entries)
    given = []

    with pytest.raises(OutputRefused, match=complaint):
        given.extend(each.name for each in box.collect("output", max_files=10, max_bytes=1 << 20))

    assert [] == given


@pytest.mark.parametrize("target", ["/etc", "/", "..", "/proc/self/root"])
def test_an_output_directory_that_is_a_link_is_refused(tree, target):
    """It is not followed, wherever it leads."""
    box = tree(target, program="replace_output_directory")

    with pytest.raises(OutputRefused, match="symbolic link"):
        gather(box)


def test_descriptors_are_closed(tree):
    """However the caller leaves the loop."""
    box = tree(["file", "a", "1"], ["file", "b", "2"])
    before = os.listdir("/proc/self/fd")

    gather(box)
    for _ in box.collect("output", max_files=10, max_bytes=10):
        break

    assert before == os.listdir("/proc/self/fd")


@pytest.mark.parametrize("path", ["", ".", "..", "a/b", "/etc", "../x"])
def test_without_openat2_nothing_but_a_name_is_opened(path, tmp_path, monkeypatch):
    """A path could lead out of the directory where it cannot be had from the kernel that it does not."""
    monkeypatch.setattr(linux, "_OPENAT2", NO_CALL)
    directory = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)

    try:
        with pytest.raises(OSError, match="not a single name"):
            linux.open_beneath(directory, path, os.O_RDONLY)
    finally:
        os.close(directory)
