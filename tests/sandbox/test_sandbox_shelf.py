"""Files that one job is given and no other: where it finds them, and what it can do to them and to the rest."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from sandboxing import HERE, LIMITS, hear, report_of, say, unconfined, wait_until

from edgesandbox import SetupFailed, Spec, Zygote

pytestmark = pytest.mark.needs("sandbox")


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two directories with a file each, below one that is closed, as a node's home is."""
    closed = tmp_path_factory.mktemp("home")
    closed.chmod(0o700)
    shelf = closed / "shelf"
    for name in ("mine", "others"):
        (shelf / name).mkdir(parents=True)
        (shelf / name).chmod(0o755)
        (shelf / name / "a file.bin").write_bytes(name.encode())
        (shelf / name / "a file.bin").chmod(0o444)
    shelf.chmod(0o711)
    return shelf


@pytest.fixture(scope="module")
def shelved(shelf: Path) -> Iterator[Zygote]:
    """A zygote with that shelf."""
    with Zygote(entry="hostile:noop", import_paths=[HERE], shelf=shelf, hidden=[shelf.parent]) as zygote:
        yield zygote


def ask(zygote: Zygote, program: str, asked: object, inputs: str | None = "mine"):
    """Return what one of the hostile programs answers."""
    with zygote.spawn(Spec(entry=program, limits=LIMITS, inputs=inputs)) as box:
        say(box, asked)
        answer = hear(box)
        report_of(box)
    return answer


def test_a_job_finds_what_it_is_given(shelved):
    """At a place of its own, by name, although the way to it on the host is closed."""
    assert "/inputs" == shelved.inputs_at("mine")

    assert {"/inputs/a file.bin": "done"} == ask(shelved, "hostile:read_files", ["/inputs/a file.bin"])


def test_what_is_put_there_later_is_found(shelved, shelf):
    """The zygote need not be started again for each job."""
    (shelf / "later").mkdir()
    (shelf / "later").chmod(0o755)
    (shelf / "later" / "file").write_bytes(b"x")
    (shelf / "later" / "file").chmod(0o444)

    assert {"/inputs/file": "done"} == ask(shelved, "hostile:read_files", ["/inputs/file"], inputs="later")


@pytest.mark.parametrize("inputs", ["mine", None])
def test_a_job_sees_nothing_of_what_others_are_given(shelved, shelf, inputs):
    """Neither on the shelf nor where that lies on the host, whether it has inputs itself or not."""
    paths = ["/shelf/others/a file.bin", "/inputs/../shelf/others/a file.bin", f"{shelf}/others/a file.bin"]

    answers = ask(shelved, "hostile:read_files", paths, inputs)

    assert not {"done"} & set(answers.values()), answers


def test_a_job_cannot_change_what_it_is_given(shelved, shelf, tmp_path, monkeypatch):
    """Neither bytes nor names, modes, owners, times or attributes: the same calls work for this user outside."""
    file = shelf / "mine" / "a file.bin"
    copy = shelf / "mine" / "copy"
    copy.write_bytes(b"mine")
    monkeypatch.chdir(tmp_path)  # the program leaves a link where it is
    outside = unconfined("strays:change", str(copy))
    before = file.stat()

    changed = ask(shelved, "strays:change", "/inputs/a file.bin")
    written = ask(shelved, "hostile:write_files", ["/inputs/a file.bin", "/inputs/new", "/shelf/new"])

    assert {"chmod", "utime", "truncate", "rename"} <= {name for name, result in outside.items() if result == "done"}
    changed.pop("open for nothing")  # gives a descriptor with which nothing can be read or written
    assert "done" not in changed.values(), changed
    assert "done" not in written.values(), written
    after = file.stat()
    assert b"mine" == file.read_bytes()
    assert (before.st_mode, before.st_uid, before.st_nlink, before.st_mtime_ns, before.st_ctime_ns) == (
        *(after.st_mode, after.st_uid, after.st_nlink, after.st_mtime_ns, after.st_ctime_ns),
    )


def test_a_warm_sandbox_has_its_shelf_covered(shelf):
    """One that was built ahead for no inputs shows none of them."""
    with Zygote(entry="hostile:read_files", import_paths=[HERE], shelf=shelf, warm=1, warm_limits=LIMITS) as zygote:
        wait_until(lambda: zygote.ready == 1)
        answers = ask(zygote, "hostile:read_files", ["/shelf/mine/a file.bin", "/inputs/a file.bin"], None)
        with zygote.spawn(Spec(limits=LIMITS)) as box:
            say(box, ["/shelf/mine/a file.bin"])
            warm = hear(box)

    assert not {"done"} & {*answers.values(), *warm.values()}


def test_inputs_that_are_not_there_are_said(shelved):
    """The sandbox is not built, and the zygote goes on."""
    with pytest.raises(SetupFailed, match="mount none at /inputs: No such file"):
        shelved.spawn(Spec(limits=LIMITS, inputs="no-such"))

    assert {"/inputs/a file.bin": "done"} == ask(shelved, "hostile:read_files", ["/inputs/a file.bin"])


def test_without_a_shelf_there_are_no_inputs(zygote):
    """Said by the zygote, in one line."""
    assert None is zygote.inputs_at("mine")

    with pytest.raises(SetupFailed, match="there is no shelf to give inputs from"):
        zygote.spawn(Spec(limits=LIMITS, inputs="mine"))


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/", "a\0", "-a", "a" * 101, 7])
def test_a_path_is_no_name(name):
    """What comes from a stranger's hands leads nowhere else."""
    with pytest.raises(ValueError, match="is no name of a directory on the shelf"):
        Spec(inputs=name)

    with pytest.raises(ValueError, match="is no name of a directory on the shelf"):
        Spec.from_json(Spec().to_json() | {"inputs": name})


def test_a_spec_keeps_its_inputs():
    """On its way to the zygote."""
    spec = dataclasses.replace(Spec(), inputs="b1d2-0000")

    assert spec == Spec.from_json(spec.to_json())
