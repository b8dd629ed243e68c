"""Which peers are measured, and what is said of the others."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from benchmarks.sandboxes import memory
from benchmarks.sandboxes.peers import PEERS, installed
from benchmarks.sandboxes.subjects import Command


@pytest.fixture
def path(tmp_path, monkeypatch):
    """An empty PATH to put programs on."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def put(name, text):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)

    return put


def test_peers_that_are_not_installed_are_named(path):
    """Every single one."""
    absent = {}

    with installed({"true": ["/bin/true"]}, absent) as commands:
        assert [] == commands

    assert {name: f"no {program} on the PATH" for name, (program, _) in PEERS.items()} == absent


def test_a_peer_that_does_not_work_here_is_named_with_its_own_words(path):
    """Its first run, which nobody times, is the proof."""
    path("bwrap", "echo no user namespaces >&2; exit 1")
    absent = {}

    with installed({"true": ["/bin/true"]}, absent) as commands:
        assert [] == commands

    assert "exit code 1: no user namespaces" == absent["bubblewrap, true"]


def test_docker_without_a_daemon_is_named(path):
    """The client alone measures nothing."""
    path("docker", "exit 1")
    absent = {}

    with installed({"true": ["/bin/true"]}, absent):
        pass

    assert "no daemon answers" == absent["docker"]


def test_an_installed_peer_runs_each_program(path):
    """The program is the end of its command line."""
    path("bwrap", "exit 0")

    with installed({"true": ["/bin/true"], "python": ["/bin/python", "-I"]}, {}) as commands:
        lines = {command.name: command.argv(0) for command in commands}

    assert ["bubblewrap, true", "bubblewrap, python"] == list(lines)
    assert ["--", "/bin/python", "-I"] == lines["bubblewrap, python"][-3:]
    assert "--unshare-all" in lines["bubblewrap, python"]


def test_a_command_knows_its_result_from_its_exit():
    """The first byte is the result; a program that says nothing has none."""
    talks = Command(name="talks", argv=lambda _worker: [sys.executable, "-I", "-S", "-c", "print(1)"])
    silent = Command(name="silent", argv=lambda _worker: ["/bin/true"])

    times = talks.once()

    assert times.result_s is not None
    assert 0 < times.result_s <= times.exit_s
    assert silent.once().result_s is None


def test_the_memory_of_all_descendants_is_found():
    """A child and its child, and their pages."""
    code = "import subprocess, sys; subprocess.run(['sleep', '60'], stdin=sys.stdin, stdout=sys.stdout)"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        try:
            found = set()
            while len(found) < 2:  # until the inner one is there
                assert child.poll() is None
                found = set(memory.descendants(child.pid)) | {child.pid}
            assert found <= set(memory.descendants(os.getpid()))
            assert 0 < memory.bytes_of(child.pid, "Pss") <= memory.bytes_of(child.pid, "Rss")
        finally:
            for pid in found - {child.pid}:
                os.kill(pid, 9)
            child.kill()
