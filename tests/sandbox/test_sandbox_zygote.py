"""The zygote's life: starting, refusing, dying, and leaving nothing behind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sandboxing import HERE, LIMITS, descendants, family, hear, mounts, report_of, runs, settled, wait_until

from edgesandbox import SandboxUnavailable, SetupFailed, Spec, Zygote, passing, protections
from edgesandbox.__main__ import main
from edgesandbox.zygote import Clone, Nursery


@pytest.fixture
def own_zygote():
    """A zygote that a test may harm."""
    with Zygote(entry="hostile:noop", import_paths=[HERE]) as zygote:
        yield zygote


def test_it_serves_and_is_alive(own_zygote):
    """Its tier and what it enforces are known from the start."""
    assert own_zygote.alive
    assert protections.tier(own_zygote.enforced) == own_zygote.tier
    assert "private_root" in own_zygote.enforced


def test_many_jobs_at_once_do_not_mix(own_zygote):
    """Spawned from several threads, each gets its own answer."""
    failures = []

    def work():
        for _ in range(5):
            with own_zygote.spawn(Spec(limits=LIMITS)) as box:
                if hear(box) != "here" or report_of(box).outcome != "exited":
                    failures.append(box)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [] == failures


def test_nothing_is_left_over(own_zygote):
    """Neither process, descriptor nor mount, after jobs that end, are killed and are abandoned."""
    seed = random.randrange(1 << 32)
    choose = random.Random(seed)

    def state():
        return (
            len(descendants(own_zygote._process.pid)),
            len(os.listdir("/proc/self/fd")),
            mounts(),
        )

    before = settled(state)  # the sandbox of the probe at the start may still be going
    for _ in range(60):
        program = choose.choice(["noop", "sleep", "outlive", "deaf", "fail"])
        box = own_zygote.spawn(Spec(entry=f"hostile:{program}", limits=LIMITS))
        if choose.random() < 0.5:
            hear(box)
        choose.choice([box.kill, box.cancel, box.close, lambda: None])()
        box.close()

    wait_until(lambda: state() == before), f"seed {seed}"


def test_closing_the_zygote_ends_its_jobs():
    """All of its processes are gone when close returns, whatever the jobs do."""
    with Zygote(entry="hostile:deaf", import_paths=[HERE]) as zygote:
        box = zygote.spawn(Spec(limits=LIMITS))
        hear(box)
        everybody = descendants(zygote._process.pid)
        assert len(everybody) >= 3

    with box:
        assert "setup_failed" == report_of(box).outcome
    assert not any(runs(pid) for pid in everybody)


def test_a_zygote_that_dies_is_noticed_and_replaced(own_zygote):
    """Its jobs end with it, spawn says so, restart brings a new one."""
    running = own_zygote.spawn(Spec(entry="hostile:sleep", limits=LIMITS))
    hear(running)
    launcher = own_zygote._process.pid
    (zygote,) = (
        pid for pid in descendants(launcher) if Path(f"/proc/{pid}/stat").read_text().split()[3] == str(launcher)
    )

    os.kill(zygote, signal.SIGKILL)

    with running:
        report = report_of(running)
    assert "setup_failed" == report.outcome
    assert "killed it or its zygote" in report.detail
    wait_until(lambda: not own_zygote.alive)
    with pytest.raises(SetupFailed, match="restart"):
        own_zygote.spawn(Spec())
    own_zygote.restart()
    with own_zygote.spawn(Spec(limits=LIMITS)) as box:
        assert "here" == hear(box)


def test_a_dead_zygote_is_noticed_while_its_launcher_lives(own_zygote):
    """Who asks between the two deaths must not be told that all is well, and be refused again."""
    launcher = own_zygote._process.pid
    (zygote,) = (pid for pid, parent in family(launcher).items() if parent == launcher)
    os.kill(launcher, signal.SIGSTOP)
    try:
        os.kill(zygote, signal.SIGKILL)

        wait_until(lambda: not own_zygote.alive)
        assert runs(launcher)
    finally:
        os.kill(launcher, signal.SIGCONT)


def test_a_launcher_that_dies_takes_everything_with_it(own_zygote):
    """The zygote and its jobs are killed by the kernel when their ancestor goes."""
    running = own_zygote.spawn(Spec(entry="hostile:deaf", limits=LIMITS))
    hear(running)
    everybody = descendants(own_zygote._process.pid)
    assert len(everybody) >= 3

    own_zygote._process.kill()

    wait_until(lambda: not any(runs(pid) for pid in everybody))
    running.close()


def test_an_agent_that_dies_takes_everything_with_it():
    """Killed without a chance to tidy up, an agent leaves no process."""
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]; from edgesandbox import *; import time\n"
        "z = Zygote(entry='hostile:deaf', import_paths=sys.argv[2:]); z.start(); b = z.spawn(Spec())\n"
        "b.channel.recv(100); print('up', flush=True); time.sleep(600)"
    )
    package = str(Path(sys.modules["edgesandbox"].__file__).parents[1])
    with subprocess.Popen([sys.executable, "-c", code, package, str(HERE)], stdout=subprocess.PIPE) as agent:
        assert b"up\n" == agent.stdout.readline()
        everybody = descendants(agent.pid)
        assert len(everybody) >= 4

        agent.kill()

    wait_until(lambda: not any(runs(pid) for pid in everybody))


def test_a_zygote_that_was_not_started_says_so():
    """spawn before start is a setup failure with a reason."""
    zygote = Zygote(entry="hostile:noop", import_paths=[HERE])

    assert not zygote.alive
    with pytest.raises(SetupFailed, match="start it first"):
        zygote.spawn(Spec())


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"preload": ["no_such_module"]}, "cannot import no_such_module inside the sandbox: ModuleNotFoundError"),
        ({"entry": "no_such_module:main"}, "cannot import no_such_module"),
        ({"entry": "hostile:no_such_function"}, "no entry hostile:no_such_function"),
        ({"preload": ["starts_a_thread"]}, "importing starts_a_thread started 1 threads"),
        ({"preload": ["raises"]}, "cannot import raises inside the sandbox: RuntimeError: not today"),
        ({"read_only": ["/no/such/path"]}, "/no/such/path was to be visible to jobs, but does not exist"),
    ],
)
def test_what_cannot_start_says_why_in_one_line(tmp_path, change, complaint):
    """SandboxUnavailable names the module, entry or path, and no process is left."""
    (tmp_path / "raises.py").write_text("raise RuntimeError('not today')")
    (tmp_path / "starts_a_thread.py").write_text(
        "import threading, time; threading.Thread(target=time.sleep, args=(600,), daemon=True).start()"
    )
    tmp_path.chmod(0o755)
    before = descendants(os.getpid())
    zygote = Zygote(**{"entry": "hostile:noop", "import_paths": [HERE, tmp_path], **change})

    with pytest.raises(SandboxUnavailable, match=complaint) as raised:
        zygote.start()

    assert "\n" not in str(raised.value)
    assert not zygote.alive
    assert descendants(os.getpid()) <= before


def test_a_hidden_path_cannot_be_uncovered(tmp_path):
    """An import path above the agent's home is refused; one inside it is the operator's word."""
    home = tmp_path / "home"
    plugins = home / "plugins"
    plugins.mkdir(parents=True)
    (plugins / "mine.py").write_text("def main(channel): channel.sendall(b'\"mine\"\\n')")

    with pytest.raises(SandboxUnavailable, match="which they must not see"):
        Zygote(entry="mine:main", import_paths=[tmp_path], hidden=[home]).start()
    for directory in (tmp_path.parent.parent, tmp_path.parent, tmp_path, home, plugins):
        directory.chmod(directory.stat().st_mode | 0o755)
    with Zygote(entry="mine:main", import_paths=[plugins], hidden=[home]) as zygote, zygote.spawn(Spec()) as box:
        assert "mine" == hear(box)


def test_a_spec_that_the_zygote_cannot_read_is_a_setup_failure(own_zygote):
    """And the zygote goes on."""

    class Odd(Spec):
        def to_json(self):
            return {"limits": {"wall_s": -1}}

    with pytest.raises(SetupFailed, match="wall_s must be a positive number"):
        own_zygote.spawn(Odd())
    with own_zygote.spawn(Spec(limits=LIMITS)) as box:
        assert "here" == hear(box)


def test_a_limit_that_the_kernel_refuses_is_a_setup_failure(own_zygote):
    """More descriptors than the system allows: the report names the limit, and does not blame the program."""
    spec = Spec(limits=type(LIMITS)(nofile=1 << 40))

    with own_zygote.spawn(spec) as box:
        report = report_of(box)

    assert "setup_failed" == report.outcome
    assert "RLIMIT_NOFILE" in report.detail


def test_check_builds_a_sandbox_and_says_what_holds(capsys):
    """The command ends with 0 and lists each protection."""
    assert 0 == main(["check"])

    printed = capsys.readouterr().out
    assert printed.startswith(("tier A\n", "tier B\n"))
    assert "enforced      private_root" in printed


def test_huge_pages_change_nothing_but_the_pages():
    """Memory holds what it held, whether the kernel has followed the advice or not."""
    code = (
        "from edgesandbox import linux; import os; d = [os.urandom(4096) * 16 for _ in range(200)]; h = hash((*d,))\n"
        "linux.collapse_heap(); assert h == hash((*map(bytes, map(bytearray, d)),)); print('same')"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)

    assert ("same\n", "") == (done.stdout, done.stderr)


def test_a_clone_that_was_shot_while_it_waited_is_passed_over():
    """The next one gets the work, though nobody has buried the first yet; who is alone leaves it to a new clone."""
    (dead, its_end), (alive, other_end) = passing.pair(), passing.pair()
    its_end.close()
    nursery = object.__new__(Nursery)
    nursery._alive = {pid: Clone(pid, None, None, order) for pid, order in ((1, dead), (2, alive))}
    nursery._spares = [1, 2]

    assert nursery._alive[2] is nursery._hand_over(b"spec", [])
    assert nursery._hand_over(b"spec", []) is None
    with other_end:
        assert b"spec" == other_end.recv(100)


def test_a_zygote_whose_launcher_was_shot_is_not_taken_for_alive(own_zygote):
    """Whoever was refused a job for that can start anew at once, and does not have to ask again and again."""
    for _ in range(10):
        os.kill(own_zygote._process.pid, signal.SIGKILL)
        try:
            own_zygote.spawn(Spec(limits=LIMITS)).close()  # it may have been quicker
        except SetupFailed:
            assert not own_zygote.alive
        own_zygote.restart()
