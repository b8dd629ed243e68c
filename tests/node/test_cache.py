"""Files by their digests on a real disk: what is kept, what is checked, what is dropped, and what a crash leaves."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest

from edgeagent.node.cache import Cache

MIB = 1 << 20


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def put(cache: Cache, data: bytes) -> str:
    """Have a file arrive."""
    sha256 = digest(data)
    cache.expect(sha256, len(data))
    partial = cache.partial(sha256)
    partial.begin(0, None)
    partial.append(data)
    return cache.keep(partial)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """A cache of 10 MiB."""
    return again(tmp_path)


def again(home: Path) -> Cache:
    """The same cache after a restart of the node."""
    cache = Cache(home, 10 * MIB)
    cache.open()
    return cache


def test_a_file_is_kept_by_its_digest(cache, tmp_path):
    """For everybody to read and nobody to write, in a directory that is its owner's."""
    sha256 = put(cache, b"abc")

    path = tmp_path / "cache" / "objects" / sha256
    assert (b"abc", 0o444) == (path.read_bytes(), path.stat().st_mode & 0o777)
    assert 0o700 == (tmp_path / "cache").stat().st_mode & 0o777
    assert cache.has(sha256, 3)
    assert not cache.has(sha256, 4)
    assert not cache.has(digest(b"other"), 3)
    assert (3, 3, 0) == (cache.used_bytes, cache.evictable_bytes, cache.promised_bytes)


def test_the_index_is_made_from_the_disk(cache, tmp_path):
    """Files, sizes and the order of their use; what is no file of ours, and what jobs were shown, is removed."""
    names = [put(cache, bytes([number]) * MIB) for number in range(3)]
    for number, name in enumerate(names):
        os.utime(tmp_path / "cache" / "objects" / name, (number, number))
    cache.has(names[0], MIB)  # the last used now
    (tmp_path / "cache" / "objects" / "rubbish").write_bytes(b"x")
    cache.lay_out("an-attempt", {"a": names[0]})

    later = again(tmp_path)

    assert 3 * MIB == later.used_bytes
    assert sorted(names) == sorted(path.name for path in (tmp_path / "cache" / "objects").iterdir())
    assert [] == list((tmp_path / "cache" / "attempts").iterdir())
    assert MIB == later.evict(1)
    assert (False, True, True) == tuple(later.has(name, MIB) for name in (names[1], names[0], names[2]))


def test_what_a_power_cut_spoiled_is_found_out(cache, tmp_path):
    """A file from before the start is read through at its first use."""
    sha256 = put(cache, b"a" * MIB)
    path = tmp_path / "cache" / "objects" / sha256
    path.chmod(0o644)
    path.write_bytes(b"\0" * MIB)

    later = again(tmp_path)

    assert later.holds(sha256)
    assert not later.has(sha256, MIB)
    assert not path.exists()
    assert 0 == later.used_bytes


@pytest.mark.parametrize("what", ["bytes", "size", "gone", "another file"])
def test_what_has_changed_since_it_was_checked_is_found_out(cache, tmp_path, what):
    """By size, time of change and inode, without reading it each time; then it is fetched anew."""
    sha256 = put(cache, b"a" * MIB)
    assert cache.has(sha256, MIB)
    path = tmp_path / "cache" / "objects" / sha256
    path.chmod(0o644)
    if what == "another file":
        (tmp_path / "new").write_bytes(b"b" * MIB)
        os.utime(tmp_path / "new", ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
        (tmp_path / "new").replace(path)
    elif what == "gone":
        path.unlink()
    else:
        path.write_bytes(b"b" * (MIB if what == "bytes" else 5))

    assert not cache.has(sha256, MIB)
    assert 0 == cache.used_bytes


def test_what_was_touched_and_is_still_right_is_kept(cache, tmp_path):
    """Somebody may look after his disk."""
    sha256 = put(cache, b"a" * MIB)
    os.utime(tmp_path / "cache" / "objects" / sha256, (5, 5))

    assert cache.has(sha256, MIB)


def test_the_least_lately_used_goes_first(cache):
    """When a new file needs its room."""
    first, second, third = (put(cache, bytes([number]) * (3 * MIB)) for number in range(3))
    cache.has(first, 3 * MIB)

    cache.expect(digest(b"new"), 2 * MIB)

    assert [True, False, True] == [cache.has(name, 3 * MIB) for name in (first, second, third)]


def test_what_an_attempt_uses_stays(cache):
    """However little room there is, and as often as it is used."""
    first, second = (put(cache, bytes([number]) * (4 * MIB)) for number in range(2))
    cache.pin(first)
    cache.pin(first)
    cache.unpin(first)
    cache.has(second, 4 * MIB)

    assert 4 * MIB == cache.evict(100 * MIB)
    assert (True, False) == (cache.has(first, 4 * MIB), cache.has(second, 4 * MIB))
    with pytest.raises(OSError, match="the cache has no room for 7340032 bytes"):
        cache.expect(digest(b"new"), 7 * MIB)
    cache.unpin(first)
    cache.expect(digest(b"new"), 7 * MIB)
    assert 0 == cache.used_bytes


def test_what_is_arriving_counts(cache):
    """Two files that fit one by one do not fit together."""
    cache.expect(digest(b"one"), 6 * MIB)
    with pytest.raises(OSError, match="no room"):
        cache.expect(digest(b"two"), 6 * MIB)
    assert 6 * MIB == cache.promised_bytes

    cache.give_up(digest(b"one"))
    cache.expect(digest(b"two"), 6 * MIB)


def test_a_job_sees_its_files_under_their_names(cache, tmp_path):
    """The same bytes, not copies; dropping them from its sight leaves the cache whole."""
    sha256 = put(cache, b"abc")

    directory = cache.lay_out("an-attempt", {"scene.bin": sha256, "again": sha256})

    assert ["again", "scene.bin"] == sorted(path.name for path in directory.iterdir())
    assert (tmp_path / "cache" / "objects" / sha256).stat().st_ino == (directory / "again").stat().st_ino
    assert (0o755, 0o711) == (directory.stat().st_mode & 0o777, directory.parent.stat().st_mode & 0o777)
    cache.clear_away("an-attempt")
    assert not directory.exists()
    assert cache.has(sha256, 3)


def test_partial_files_are_kept_as_far_as_there_is_room(cache, tmp_path):
    """The newest; those that nobody waits for go when room is needed, a payload that is just arriving does not."""
    for number in range(4):
        partial = cache.partial(digest(bytes([number])))
        partial.begin(0, '"v"')
        partial.append(b"x" * (4 * MIB))
        partial.end()
        os.utime(partial.path, (number, number))
    (tmp_path / "cache" / "partial" / "payload-old").write_bytes(b"x")

    later = again(tmp_path)
    left = [path.name for path in (tmp_path / "cache" / "partial").iterdir() if path.suffix != ".json"]
    assert sorted(digest(bytes([number])) for number in (2, 3)) == sorted(left)

    payload = later.payload("new")
    payload.begin(0, None)
    later.expect(digest(bytes([3])), 5 * MIB)
    assert 4 * MIB == later.evict(100 * MIB)
    assert {digest(bytes([3])), "payload-new"} == {
        path.name for path in (tmp_path / "cache" / "partial").iterdir() if path.suffix != ".json"
    }
    payload.end()


def test_threads_may_use_it_together(cache):
    """What comes and goes at the same time is counted right in the end."""

    def churn(number: int) -> None:
        for turn in range(20):
            sha256 = digest(data := bytes([number, turn]) * 1000)
            cache.pin(sha256)
            put(cache, data)
            assert cache.has(sha256, 2000)
            cache.unpin(sha256)
            cache.evict(1000)

    threads = [threading.Thread(target=churn, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    cache.evict(100 * MIB)
    assert (0, 0) == (cache.used_bytes, cache.promised_bytes)
