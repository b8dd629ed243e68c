"""What of the host a caller lets a program have: where it is put, and what the program can do to it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from edgesandbox.__main__ import main
from edgesandbox.binds import Bind, place
from edgesandbox.errors import SandboxUnavailable


@pytest.fixture
def shell(capfd):
    """Run a shell script under some options; returns exit code and stdout."""

    def shell(script, *options):
        code = main(["run", *options, "--json", "--", "/bin/sh", "-c", script])
        said = capfd.readouterr()
        return code, said.out, json.loads(said.err.splitlines()[-1])

    return shell


@pytest.fixture
def host(tmp_path):
    """A directory with a file that anybody may write, as the sandbox's ids are nobody's."""
    (tmp_path / "file").write_text("old\n")
    (tmp_path / "below").mkdir()
    for path, mode in ((tmp_path, 0o777), (tmp_path / "below", 0o777), (tmp_path / "file", 0o666)):
        path.chmod(mode)
    return tmp_path


@pytest.mark.needs("sandbox")
@pytest.mark.parametrize("inside", ["/data", "/tmp/data", "/scratch/data", "/usr/share/misc", "/lib/python3"])
def test_a_directory_is_shown_where_it_is_asked_for(shell, host, inside):
    """In our own part of the tree, over the job's own mounts, and over a directory of the host, through links too."""
    code, out, _ = shell(f"cat {inside}/file", "--ro", f"{host}:{inside}")

    assert (0, "old\n") == (code, out)


@pytest.mark.needs("sandbox")
def test_what_is_only_to_be_read_cannot_be_changed(shell, host):
    """Neither the directory nor what is in it, whatever their modes allow."""
    script = f"cd {host}; echo new > file; touch other; mv file elsewhere; chmod 600 file; ls"

    _, out, _ = shell(script, "--ro", str(host))

    assert ["below", "file"] == out.split()
    assert "old\n" == (host / "file").read_text()


@pytest.mark.needs("sandbox")
def test_what_may_be_written_is_changed_for_good(shell, host):
    """Files are replaced, made, moved between directories and removed."""
    script = "cd /data; echo new > file; echo more > other; mv other below/; rm file; cat below/other"

    code, out, _ = shell(script, "--rw", f"{host}:/data")

    assert (0, "more\n") == (code, out)
    assert ["below", "other"] == sorted(path.name for path in host.rglob("*"))


@pytest.mark.needs("sandbox")
def test_a_single_file_may_be_written(shell, host):
    """It and nothing beside it."""
    code, _, _ = shell("echo new > /data/result; touch /data/other", "--rw", f"{host}/file:/data/result")

    assert 0 != code
    assert "new\n" == (host / "file").read_text()
    assert ["below", "file"] == sorted(path.name for path in host.iterdir())


@pytest.mark.needs("sandbox")
def test_one_bind_may_lie_in_another(shell, host):
    """A writable directory in one that is not."""
    code, _, _ = shell(
        "touch /data/below/made && ! touch /data/made", "--ro", f"{host}:/data", "--rw", f"{host}/below:/data/below"
    )

    assert 0 == code
    assert (host / "below" / "made").exists()


@pytest.mark.needs("sandbox", "root")
def test_no_program_in_it_gains_rights(shell, host):
    """A setuid file and a device node are just files."""
    (host / "suid").write_bytes(Path("/usr/bin/id").read_bytes())
    (host / "suid").chmod(0o4755)
    os.mknod(host / "zero", 0o20666, os.makedev(1, 5))
    (host / "zero").chmod(0o666)

    _, out, _ = shell("/data/suid -u; head -c 1 /data/zero || echo refused", "--rw", f"{host}:/data")

    assert "1000\nrefused\n" == out


SETUID = """
import os
def attempt(action):
    try:
        action()
    except PermissionError:
        pass
open("chmod", "w").close(); open("fchmod", "w").close()
attempt(lambda: os.chmod("chmod", 0o4755))
attempt(lambda: os.fchmod(os.open("fchmod", os.O_RDONLY), 0o6755))
attempt(lambda: os.open("open", os.O_CREAT | os.O_WRONLY, 0o4755))
attempt(lambda: os.mknod("mknod", 0o104755))
os.chmod("chmod", 0o1755)
"""


@pytest.mark.needs("sandbox")
def test_no_setuid_file_can_be_left_in_it(shell, host):
    """Not by any call that gives a file its mode; as any other process, the same program leaves three."""
    subprocess.run([sys.executable, "-c", SETUID], cwd=host / "below", check=True)
    made = {path.name for path in (host / "below").iterdir() if path.stat().st_mode & 0o6000}
    (host / "made").mkdir()
    (host / "made").chmod(0o777)
    (host / "program").write_text(SETUID)
    (host / "program").chmod(0o644)

    code, _, _ = shell("cd /data/made && python3 ../program", "--rw", f"{host}:/data")

    assert 0 == code
    assert {"fchmod", "open", "mknod"} == made
    left = {path.name: path.stat().st_mode & 0o7000 for path in (host / "made").iterdir()}
    assert {"chmod": 0o1000, "fchmod": 0} == left


@pytest.mark.needs("sandbox")
@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ("/no/such", "/no/such was to be visible to jobs, but does not exist here"),
        ("{host}:/", "sandbox's own"),
        ("{host}:/proc/self", "sandbox's own"),
        ("{host}:/dev/x", "sandbox's own"),
        ("{host}:/scratch", "sandbox's own"),
        ("{host}:/usr/share/no-such", "has no such directory to mount on"),
        ("{host}/file:/usr/share/misc", "has no such file to mount on"),
        ("{host}/socket:/data", "neither a file nor a directory"),
        ("{host}/fifo", "neither a file nor a directory"),
        ("{host}/closed/file", "closed"),
        ("", "names no path"),
    ],
)
@pytest.mark.parametrize("kind", ["--ro", "--rw"])
def test_what_cannot_be_shown_has_a_line(shell, host, kind, option, complaint):
    """Exit code 125, outcome setup_failed, and nothing made on the host."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(host / "socket"))
    os.mkfifo(host / "fifo")
    (host / "closed").write_text("a file, and no directory")

    code, _, report = shell("true", kind, option.format(host=host))

    assert (125, "setup_failed") == (code, report["outcome"])
    assert complaint in report["detail"]
    assert not os.path.exists("/usr/share/no-such")


@pytest.mark.needs("sandbox", "root")
def test_what_the_job_may_not_read_has_a_line(shell, host):
    """With what to type."""
    host.chmod(0o700)

    code, _, report = shell("true", "--ro", f"{host}:/data")

    assert 125 == code
    assert "may not read /data; type: chmod" in report["detail"]


@pytest.mark.parametrize(
    ("text", "source", "inside"),
    [
        ("/a", "/a", "/a"),
        ("/a:/b", "/a", "/b"),
        ("/a:/b/", "/a", "/b"),
        ("/a:/../b", "/a", "/b"),
        ("/a:b", "/a:b", "/a:b"),
        ("/a:b:/c", "/a:b", "/c"),
    ],
)
def test_a_bind_is_read(text, source, inside):
    """A colon belongs to the path unless a slash follows."""
    assert Bind(source, inside) == Bind.parse(text, writable=False)


def test_a_relative_path_is_made_absolute(monkeypatch, tmp_path):
    """From the working directory."""
    monkeypatch.chdir(tmp_path)

    assert Bind(f"{tmp_path}/x", f"{tmp_path}/x") == Bind.parse("x", writable=False)


def test_a_place_is_taken_once(tmp_path):
    """Two binds at one place are a mistake, not a choice."""
    with pytest.raises(SandboxUnavailable, match="asked for twice"):
        place([Bind(str(tmp_path), "/a"), Bind("/usr", "/a")], [], {})


def test_links_in_the_tree_are_followed(tmp_path):
    """Both the jobs' own and those of the source; the mount goes to what they lead to."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")

    (placed,) = place([Bind(str(tmp_path / "link"), "/dev/shm/x")], [], {"/dev/shm": "/tmp"})

    assert Bind(str(tmp_path / "real"), "/tmp/x") == placed
