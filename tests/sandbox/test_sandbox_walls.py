"""What a job can see, reach and become: nothing of the host."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import hostile
import pytest
from sandboxing import HERE, hear, read_all, report_of, say

from edgesandbox.client import ENVIRONMENT


def test_a_job_sees_only_itself(run):
    """One process, its supervisor, a private root, a clean environment, four descriptors, no network."""
    seen = run("surroundings").answer

    assert (1000, 1000, "/scratch", "sandbox") == (seen["uid"], seen["gid"], seen["cwd"], seen["hostname"])
    assert 2 == len(seen["processes"])
    assert set(ENVIRONMENT) == set(seen["environment"]) - {"LC_CTYPE"}
    assert [0, 1, 2] == seen["descriptors"][:3]
    assert len(seen["descriptors"]) <= 6  # channel, words, and the listing itself
    assert set(seen["interfaces"]) <= {"lo", "sit0", "tunl0", "ip6tnl0"}
    assert "" == seen["stdin"]
    assert not {"home", "root", "boot", "run", "var", "srv", "mnt", "opt"} & set(seen["root"]) - _interpreter_roots()
    assert {"null", "zero", "full", "random", "urandom", "fd", "stdin", "stdout", "stderr", "shm"} == set(seen["dev"])


def _interpreter_roots() -> set[str]:
    """Top directories that exist inside because Python or the tests are installed below them."""
    paths = [sys.prefix, sys.base_prefix, os.path.realpath(sys.executable), str(HERE), *sys.path]
    return {Path(path).parts[1] for path in paths if len(Path(path).parts) > 1}


def test_a_job_has_no_privileges(run):
    """Every capability set is empty and none can come back."""
    status = run("surroundings").answer["status"]

    assert [0] * 5 == [int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")]
    assert "1" == status["NoNewPrivs"]


def test_the_agents_environment_and_descriptors_do_not_get_in(run, monkeypatch):
    """A secret in the agent's environment or in an inheritable descriptor is not in the job."""
    monkeypatch.setenv("AGENT_SECRET", "s3cret")
    with tempfile.TemporaryFile() as secret:
        os.set_inheritable(secret.fileno(), True)

        seen = run("surroundings").answer

    assert "AGENT_SECRET" not in seen["environment"]
    assert len(seen["descriptors"]) <= 6


def test_files_of_the_host_do_not_exist(run, tmp_path):
    """A file that an unconfined process reads is not there for a job."""
    key = tmp_path / "private_key.pem"
    key.write_text("key")
    paths = [str(key), "/etc/shadow", "/etc/machine-id", f"/proc/{os.getpid()}/environ", "/dev/kmsg", "/dev/mem"]
    assert "done" == hostile.attempt(key.read_bytes)

    answer = run("read_files", paths).answer

    assert {"FileNotFoundError 2"} == set(answer.values())


def test_system_directories_are_read_only(run):
    """Nothing outside /scratch and /tmp can be written; those can."""
    paths = [
        "/x",
        "/usr/x",
        "/usr/bin/env",
        "/etc/passwd",
        "/dev/x",
        f"{HERE}/x",
        f"{sys.prefix}/lib/x",
        "/proc/sys/kernel/core_pattern",
    ]

    answer = run("write_files", [*paths, "/scratch/x", "/tmp/x", "/dev/shm/x"]).answer

    assert {"done"} == {answer.pop(path) for path in ("/scratch/x", "/tmp/x", "/dev/shm/x")}
    assert set(answer.values()) <= {"OSError 30", "PermissionError 13"}, answer


def test_the_interpreter_itself_cannot_be_overwritten(run):
    """/proc/self/exe leads to a read-only mount, not to the host's file."""
    answer = run("write_files", ["/proc/self/exe"]).answer

    assert "OSError 30" == answer["/proc/self/exe"]


def test_sockets_of_the_host_cannot_be_reached(run):
    """Neither a TCP port on loopback nor an abstract socket answers, though both answer outside."""
    name = f"edgesandbox-{secrets.token_hex(8)}"
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind("\0" + name)
        abstract.listen()
        addresses = [tcp.getsockname()[1], name]
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.sendall(b'[%d, "%s"]\n' % (addresses[0], name.encode()))
            ours.shutdown(socket.SHUT_WR)
            hostile.connect(theirs)
            assert b'["done", "done"]\n' == ours.recv(1000)

        answer = run("connect", addresses).answer

    assert answer[0] in {"OSError 101", "ConnectionRefusedError 111"}
    assert "ConnectionRefusedError 111" == answer[1]


def test_two_jobs_do_not_share_abstract_sockets_or_files(spawn):
    """Each job has its own network namespace, scratch and process ids."""
    first, second = spawn("listen_and_wait"), spawn("connect")
    name = hear(first)
    say(second, [name])

    assert ["ConnectionRefusedError 111"] == hear(second)


def test_processes_of_the_host_cannot_be_signalled(run):
    """The agent's pid means nothing inside."""
    assert "done" == hostile.attempt(os.kill, os.getpid(), 0)

    assert ["ProcessLookupError 3"] == run("signal_pids", [[os.getpid(), 0]]).answer


def test_the_supervisor_cannot_be_attacked_from_inside(run):
    """Signals to PID 1 do nothing, and it can be neither read nor traced; the report still comes."""
    ended = run("attack_init")

    refused = {name: got for name, got in ended.answer.items() if not name.startswith("signal")}
    assert set(refused.values()) <= {"PermissionError 13", "errno 1"}, refused
    assert ("exited", 0) == (ended.report.outcome, ended.report.exit_code)


def test_a_job_cannot_forge_its_report(run):
    """Whatever it writes to its descriptors, its exit code is reported as it was."""
    report = run("forge").report

    assert ("exited", 9) == (report.outcome, report.exit_code)


def test_a_job_gains_nothing_by_namespaces_or_mounts(run):
    """No nested user namespace, hence no other; no mount, unmount, chroot, device or change of user."""
    answer = run("nested_namespaces").answer

    assert "done" not in answer.values(), answer


def test_the_same_attack_works_with_a_user_namespace_of_ones_own():
    """Unconfined, a nested user namespace is to be had for the asking: what the sandbox takes away is real."""
    done = subprocess.run(
        [sys.executable, "-c", "import ctypes; print(ctypes.CDLL(None).unshare(0x10000000))"],
        capture_output=True,
        check=True,
    )

    assert b"0\n" == done.stdout


def test_limits_cannot_be_raised(run):
    """Each hard limit is as final as the soft one."""
    answer = run("raise_limits").answer

    assert "done" == answer.pop("CORE")  # so it is told; it stays at 1, see test_sandbox_intruders
    assert {"ValueError"} == set(answer.values())


def test_jobs_at_work_are_different_users_to_the_kernel(spawn, zygote):
    """Started by root, or by a user who was given ids, no two jobs and no account share a user id."""
    if "separate_user_id" not in zygote.enforced:
        pytest.skip("only root, and who is given some in /etc/subuid, has more than one user id")
    users = []
    for box in (spawn("sleep"), spawn("sleep")):
        hear(box)
        users.append(os.fstat(box.scratch_fd).st_uid)

    assert len({*users, os.getuid()}) == 3
    assert os.geteuid() != 0 or min(users) >= 1 << 30


def test_what_is_on_is_said_and_nothing_else(zygote, spawn):
    """Every protection is either enforced or excused, never both."""
    box = spawn("noop")
    report = report_of(box)

    assert set(zygote.enforced) == set(report.enforced)
    assert not set(report.enforced) & set(report.not_enforced)
    assert ("separate_user_id" in report.enforced) == (os.fstat(box.scratch_fd).st_uid != os.geteuid())


def test_a_program_can_be_run(run):
    """Plugins may start programs of the system directories."""
    assert "1000\n/scratch\n" == run("shell").answer


def test_output_comes_through_the_pipe(spawn):
    """stdout and stderr arrive in order, and end when the job has ended."""
    box = spawn("print_lines")
    report = report_of(box)

    assert b"to stdout\nto stderr\n" == read_all(box.output_fd)
    assert "exited" == report.outcome
