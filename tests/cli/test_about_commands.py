"""What is installed, what a shell completes, and plugins to start from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeagent import __version__
from edgeagent.cli import main


def test_version_says_what_it_runs_on() -> None:
    """For people, and for scripts."""
    document = json.loads(CliRunner().invoke(main, ["version", "--json"]).stdout)

    assert ("edgeagent.version/1", __version__) == (document["schema"], document["version"])
    assert CliRunner().invoke(main, ["version"]).stdout.startswith(f"edgeagent {__version__}\n")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script_that_calls_this_command(shell: str) -> None:
    """With the variable that click answers to."""
    done = CliRunner().invoke(main, ["completion", shell])

    assert (0, True) == (done.exit_code, f"_EDGEAGENT_COMPLETE={shell}_complete" in done.stdout)


def test_bash_completes_commands(tmp_path: Path) -> None:
    """The script is sourced by a real bash, which then knows what follows ``edgeagent sta``."""
    script = CliRunner().invoke(main, ["completion", "bash"]).stdout
    wrapper = tmp_path / "edgeagent"
    wrapper.write_text(f"#!{sys.executable}\nfrom edgeagent.cli import main\nmain()\n")
    wrapper.chmod(0o755)
    ask = 'COMP_WORDS=(edgeagent sta); COMP_CWORD=1; _edgeagent_completion edgeagent; echo "${COMPREPLY[@]}"'

    done = subprocess.run(
        ["bash", "-c", f"PATH={tmp_path}:$PATH\n{script}\n{ask}"], capture_output=True, text=True, check=True
    )

    assert "status" == done.stdout.strip()


def test_a_new_plugin_can_be_read_by_the_user_that_jobs_run_as(tmp_path: Path) -> None:
    """Whatever the umask; the home around it stays closed to all others."""
    home = tmp_path / "home"
    before = os.umask(0o077)
    try:
        CliRunner().invoke(main, ["plugins", "new", "mine"], env={"EDGEAGENT_HOME": str(home)})
    finally:
        os.umask(before)

    assert [0o700, 0o755, 0o644] == [
        path.stat().st_mode & 0o777 for path in (home, home / "plugins", home / "plugins" / "mine.py")
    ]


def test_a_new_plugin_runs_and_its_test_passes(tmp_path: Path) -> None:
    """The node finds it, and passes over its test."""
    env = {"EDGEAGENT_HOME": str(tmp_path)}
    made = CliRunner().invoke(main, ["plugins", "new", "word_count"], env=env)
    again = CliRunner().invoke(main, ["plugins", "new", "word_count"], env=env)
    checked = json.loads(CliRunner().invoke(main, ["plugins", "check", "--json"], env=env).stdout)
    test = tmp_path / "plugins" / "_test_word_count.py"
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", "-p", "no:cacheprovider", str(test)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (0, 1, True) == (made.exit_code, again.exit_code, "exists" in again.stderr)
    assert {"word_count": None} == {
        one["job_type"]: one["reason"] for one in checked["plugins"] if one["job_type"] == "word_count"
    }
    assert [] == checked["errors"]
    assert (0, True) == (tested.returncode, "2 passed" in tested.stdout), tested.stdout


@pytest.mark.parametrize("name", ["Upper", "1st", "a-b", "../x", "", "a" * 64])
def test_a_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    """Nothing is written."""
    done = CliRunner().invoke(main, ["plugins", "new", name], env={"EDGEAGENT_HOME": str(tmp_path)})

    assert (2, []) == (done.exit_code, list(tmp_path.iterdir()))


def test_broken_plugins_fail_the_check_and_are_listed(tmp_path: Path) -> None:
    """One that cannot be parsed, and one that cannot be imported; the list alone imports nothing."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "a.py").write_text("class (")
    (tmp_path / "plugins" / "b.py").write_text(
        'import no_such_module\nclass B(BaseWorkerPlugin):\n    job_type = "b"\n'
    )
    env = {"EDGEAGENT_HOME": str(tmp_path)}

    listed = CliRunner().invoke(main, ["plugins", "list"], env=env)
    checked = CliRunner().invoke(main, ["plugins", "check"], env=env)

    assert (0, 1) == (listed.exit_code, checked.exit_code)
    assert "a.py: not valid Python" in listed.stderr
    assert "b.py:B" in listed.stdout
    assert "No module named 'no_such_module'" in checked.stdout
    assert "2 plugins are broken" in checked.stderr
