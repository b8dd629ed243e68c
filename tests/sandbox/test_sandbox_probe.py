"""The probe sees what is not there: it is what ``start`` and ``check`` believe."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from edgesandbox import SandboxUnavailable, Zygote
from edgesandbox.client import probe_question

CODE = """
import json, sys
from edgesandbox.probe import findings
print(json.dumps(list(findings(json.loads(sys.argv[1])))))
"""


@pytest.mark.needs("unfiltered")
def test_an_unconfined_process_is_found_out():
    """On the bare host, nearly everything that can be looked at is missing."""
    question = json.dumps(probe_question())

    done = subprocess.run([sys.executable, "-c", CODE, question], capture_output=True, text=True, check=True)

    found = {protection for protection, _ in json.loads(done.stdout)}
    of_root = {"capabilities_dropped"} if os.geteuid() == 0 else set()  # others have none to begin with
    assert found >= of_root | {
        *("user_namespace", "mount_namespace", "pid_namespace", "network_namespace", "ipc_namespace", "uts_namespace"),
        *("capabilities_unobtainable", "private_root", "no_new_privileges", "seccomp", "nested_namespaces_denied"),
        *("rlimit_cpu", "rlimit_data", "rlimit_fsize"),
    }


def test_a_sandbox_that_does_not_hold_is_refused(monkeypatch):
    """Asked about a path that every job sees, the probe reports it, and the zygote does not start."""
    monkeypatch.setattr("edgesandbox.client.HOST_PATHS", ("/usr",))

    with pytest.raises(SandboxUnavailable, match="does not hold on this host: /usr of the host is visible"):
        Zygote(entry="edgesandbox.probe:main").start()
