"""What an idle agent's process tree takes, and which agents there are."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from benchmarks.dispatching import stage
from benchmarks.idling import agents, tree

BURNING = """
import subprocess, sys, time
code = "import time\\nwhile time.process_time() < 0.3: pass"
subprocess.run([sys.executable, "-c", code])
print("burnt", flush=True)
child = subprocess.Popen([sys.executable, "-c", code + "\\nprint('too', flush=True)\\ntime.sleep(600)"])
child.wait()
"""


def test_processor_time_is_that_of_the_whole_tree():
    """Of a child that lives, and of one that has ended; 0.3 s each, beside what an interpreter's start takes."""
    process = subprocess.Popen([sys.executable, "-c", BURNING], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert ["burnt\n", "too\n"] == [process.stdout.readline() for _ in range(2)]
        alone, together = tree.cpu_s(process.pid), sum(map(tree.cpu_s, tree.members(process.pid)[1:]))
        assert 2 == len(tree.members(process.pid))
        assert alone - together >= 0.27  # user and system time are each rounded down to hundredths
        assert together >= 0.27
        assert tree.pss_bytes(process.pid) > 2 << 20
    finally:
        for pid in reversed(tree.members(process.pid)):
            subprocess.run(["kill", "-9", str(pid)], check=False)
        process.communicate()


@pytest.mark.needs("sandbox")
def test_a_node_is_its_agent_its_launcher_its_zygote_and_what_waits(tmp_path):
    """As its command runs it, heard by a gateway; nothing of it is left out, and nothing is left."""
    prepared = stage.prepare(tmp_path / "gateway", node_count=1, job_type="echo")
    with prepared.gateway() as served, agents.node(tmp_path / "node", served.address, prepared.members[0]) as pid:
        parts = dict(tree.parts(pid))
        end = time.monotonic() + 60
        while not parts[tree.WARM] and time.monotonic() < end:
            parts = dict(tree.parts(pid))
        used_s = tree.cpu_s(pid)

    assert {"agent", "launcher", "zygote", tree.WARM} == parts.keys()
    assert all(size > 1 << 20 for size in parts.values())
    assert used_s > 0.1
    assert [pid] == tree.members(pid)


def test_a_peer_that_is_not_there_says_so(tmp_path, monkeypatch):
    """And what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(agents.AbsentError, match=r"no boinc on the PATH \(Debian: boinc-client\)"):
        agents.boinc(tmp_path / "boinc").__enter__()


def test_a_peer_that_does_not_run_says_so_in_its_own_words(tmp_path, monkeypatch):
    """It gets a moment to fail."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (tmp_path / "boinc").write_text("#!/bin/sh\necho no room for a client; exit 1\n")
    (tmp_path / "boinc").chmod(0o755)

    with pytest.raises(agents.AbsentError, match="it does not run here: no room for a client"):
        agents.boinc(tmp_path / "data").__enter__()


def test_nothing_of_this_shell_leads_a_node_elsewhere(monkeypatch):
    """Nor keeps its bytecode from being written, which an installed one has."""
    for name in ("GATEWAY_URL", "EDGEAGENT_HOME", "PYTHONDONTWRITEBYTECODE"):
        monkeypatch.setenv(name, "1")

    assert not {"GATEWAY_URL", "EDGEAGENT_HOME", "PYTHONDONTWRITEBYTECODE"} & agents.environ().keys()
