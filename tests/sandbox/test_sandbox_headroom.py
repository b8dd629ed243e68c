"""How much memory is left, by the kernel's own texts; in a real group, see test_sandbox_cgroups."""

from __future__ import annotations

import pytest

from edgesandbox import headroom


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("MemTotal:       2000 kB\nMemFree:  1 kB\nMemAvailable:    500 kB\nHugePages_Total:       0\n", 0.25),
        ("MemTotal: 2000 kB\nMemAvailable: 0 kB\n", 0.0),
        ("", 1.0),
    ],
)
def test_the_available_share_is_read_from_meminfo(text, share):
    """What the kernel says can be had without swapping, of all there is."""
    assert share == headroom.available_share(text)


@pytest.mark.parametrize(
    ("limit", "used", "stat", "share"),
    [
        ("1000\n", "900\n", "anon 500\ninactive_file 400\n", 0.5),
        ("1000\n", "1200\n", "", 0.0),
        ("max\n", "900\n", "", 1.0),
        ("", "", "", 1.0),
        ("0\n", "0\n", "", 1.0),
    ],
)
def test_what_is_left_of_a_groups_limit(limit, used, stat, share):
    """Files that are not in use count as left; a group without a limit, or one that has gone, leaves everything."""
    assert share == headroom.left_of(limit, used, stat, "inactive_file")


def test_every_group_above_is_looked_at(tmp_path, monkeypatch):
    """Those of a process deep in version 2, and of one in version 1; the smallest share counts."""
    top = tmp_path / "groups"
    (top / "a/b").mkdir(parents=True)
    for where, used in ((top / "a", 600), (top / "a/b", 100)):
        (where / "memory.max").write_text("1000\n")
        (where / "memory.current").write_text(f"{used}\n")
        (where / "memory.stat").write_text("inactive_file 0\n")
    (tmp_path / "mountinfo").write_text(f"30 20 0:26 / {top} rw - cgroup2 cgroup2 rw\n")
    (tmp_path / "cgroup").write_text("0::/a/b\n")
    monkeypatch.setattr(headroom, "MEMINFO", tmp_path / "none")

    room = headroom.Headroom(tmp_path)

    assert 0.4 == pytest.approx(room.share())
    (top / "a/b/memory.current").write_text("900\n")
    assert 0.1 == pytest.approx(room.share())
