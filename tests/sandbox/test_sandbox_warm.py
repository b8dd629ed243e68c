"""The warm pool: jobs that start at once are confined, counted and buried like all others."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sandboxing import HERE, LIMITS, descendants, family, hear, mounts, read_all, report_of, runs, settled, wait_until

from edgesandbox import Box, SetupFailed, Spec, Zygote, headroom, pool
from edgesandbox.client import probe_question

SIZE = 2
WARM = Spec(limits=LIMITS)


def start(zygote: Zygote, program: str) -> Box:
    """Hand out a box of a full pool and name the program to be."""
    wait_until(lambda: zygote.ready == SIZE)
    box = zygote.spawn(WARM)
    box.channel.sendall(program.encode() + b"\n")
    return box


def by_role(zygote: Zygote) -> tuple[set[int], set[int]]:
    """Return the pids of the supervisors and of the jobs that there are."""
    assert zygote._process is not None
    parents = family(zygote._process.pid)
    (root,) = (pid for pid, parent in parents.items() if parent == zygote._process.pid)
    supervisors = {pid for pid, parent in parents.items() if parent == root}
    return supervisors, set(parents) - supervisors - {root}


@pytest.fixture
def own() -> Iterator[Zygote]:
    """A zygote with a warm pool that a test may harm."""
    with Zygote(entry="hostile:obey", import_paths=[HERE], warm=SIZE, warm_limits=LIMITS) as zygote:
        yield zygote


@pytest.fixture(scope="module")
def warm() -> Iterator[Zygote]:
    """A zygote with a warm pool for tests that harm only boxes of their own."""
    with Zygote(entry="hostile:obey", import_paths=[HERE], warm=SIZE, warm_limits=LIMITS) as zygote:
        yield zygote


def test_the_entry_is_called_when_the_box_is_handed_out_and_not_before(warm):
    """The process is older than the call of spawn; the call of the entry is younger; nothing is in its way."""
    wait_until(lambda: warm.ready == SIZE and len(by_role(warm)[1]) == SIZE)  # a supervisor may be ahead of its job
    now, since_boot = time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME)

    with start(warm, "tell_the_time") as box:
        called, born, left = hear(box)

    assert born <= since_boot
    assert now <= called
    assert [] == left


def test_the_memory_is_not_looked_at_for_each_job(own, monkeypatch):
    """That is a dozen files, read while the agent is busy with the end of the job."""
    looks = []
    share = headroom.Headroom.share
    began = time.monotonic()
    monkeypatch.setattr(headroom.Headroom, "share", lambda self: looks.append(0) or share(self))

    for _ in range(30):
        with start(own, "leave") as box:
            box.channel.sendall(b"0\n")
            report_of(box)

    assert len(looks) <= (time.monotonic() - began) / pool.LOOK_EVERY_S + 2  # the first may be at once


def test_the_report_of_a_warm_job_says_what_that_of_a_cold_one_says(warm):
    """All but the figures."""
    with start(warm, "leave") as box, warm.spawn(Spec(entry="hostile:leave", limits=LIMITS)) as cold:
        for each in (box, cold):
            each.channel.sendall(b"7\n")
        reports = [dataclasses.replace(report_of(each), wall_s=0, cpu_s=0, memory_peak_bytes=0) for each in (box, cold)]

    assert reports[0] == reports[1]
    assert 7 == reports[0].exit_code


def test_a_waiting_box_is_confined_already():
    """The job that attacks its surroundings finds nothing in a warm box either."""
    with Zygote(entry="edgesandbox.probe:main", warm=1) as zygote:
        wait_until(lambda: zygote.ready)
        with zygote.spawn(Spec()) as box:
            box.channel.sendall(json.dumps(probe_question()).encode() + b"\n")
            found = hear(box)
            enforced = report_of(box).enforced

    assert [] == [what for protection, what in found if protection in enforced]
    assert enforced


def test_a_box_is_handed_out_once(warm):
    """Many threads at once get a box each, warm or cold; no two get the same."""
    wait_until(lambda: warm.ready == SIZE)
    boxes: list[Box] = []
    threads = [threading.Thread(target=lambda: boxes.append(warm.spawn(WARM))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    disks = {os.fstat(box.scratch_fd).st_dev for box in boxes}
    for box in boxes:
        box.channel.sendall(b"tell_the_time\n")
    left = [hear(box)[2] for box in boxes]
    for box in boxes:
        box.close()

    assert 8 == len(boxes) == len(disks)
    assert [[]] * 8 == left


def test_other_limits_get_a_box_of_their_own(warm):
    """Built when asked for, with those limits; the pool stays as it is."""
    wait_until(lambda: warm.ready == SIZE)

    with warm.spawn(Spec(limits=dataclasses.replace(LIMITS, nofile=64))) as box:
        assert SIZE == warm.ready
        box.channel.sendall(b"gluttons:many_descriptors\n")
        opened, _error = hear(box)

    assert opened < 64


def test_the_clock_starts_when_the_box_is_handed_out():
    """A box that has waited for longer than a job may take has all its time left, and no more than that."""
    limits = dataclasses.replace(LIMITS, wall_s=0.5)
    with Zygote(entry="hostile:obey", import_paths=[HERE], warm=SIZE, warm_limits=limits) as zygote:
        wait_until(lambda: zygote.ready == SIZE)
        filled = time.monotonic()
        wait_until(lambda: time.monotonic() > filled + 0.7)
        with zygote.spawn(Spec(limits=limits)) as short, zygote.spawn(Spec(limits=limits)) as long:
            short.channel.sendall(b"noop\n")
            long.channel.sendall(b"deaf\n")
            reports = [report_of(short), report_of(long)]

    assert ["exited", "timeout"] == [report.outcome for report in reports]
    assert 0 < reports[0].wall_s < 0.5 <= reports[1].wall_s < 3


@pytest.mark.parametrize(("end", "outcome"), [("cancel", "cancelled"), ("kill", "cancelled"), ("close", None)])
def test_a_warm_job_can_be_stopped(warm, end, outcome):
    """By all three ways, and nobody holds its output pipe afterwards."""
    box = start(warm, "sleep")
    hear(box)
    copy = os.dup(box.output_fd)
    try:
        getattr(box, end)()
        if outcome:
            assert outcome == report_of(box).outcome
        box.close()
        assert b"" == read_all(copy)
    finally:
        os.close(copy)


def test_waiting_costs_no_processor_time(own):
    """Those that wait do not run at all."""
    wait_until(lambda: own.ready == SIZE and [SIZE, SIZE] == [len(pids) for pids in by_role(own)])
    waiting = sorted(set().union(*by_role(own)))

    def used() -> list[str]:
        return [Path(f"/proc/{pid}/schedstat").read_text().split()[0] for pid in waiting]

    def at_rest() -> bool:
        before = used()
        time.sleep(0.6)  # more than any interval at which one of them could look at something
        return before == used()

    wait_until(at_rest, 60)  # on a busy machine the last of them may still be on its way to where it waits


@pytest.mark.parametrize("role", [0, 1], ids=["supervisor", "job"])
def test_a_waiting_box_that_dies_is_replaced(own, role):
    """It is noticed without anybody asking; whoever asks meanwhile gets one that works."""
    wait_until(lambda: own.ready == SIZE and [SIZE, SIZE] == [len(pids) for pids in by_role(own)])
    dead = by_role(own)[role]

    for pid in dead:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(map(runs, dead)))
    wait_until(lambda: not own.ready)
    with own.spawn(WARM) as box:
        box.channel.sendall(b"noop\n")
        assert "here" == hear(box)

    wait_until(lambda: own.ready == SIZE)
    assert not dead & by_role(own)[role]


def test_a_box_that_has_died_unnoticed_is_not_the_jobs_failure(own):
    """Handed out at that very moment, its report says that the sandbox failed."""
    wait_until(lambda: own.ready == SIZE)
    jobs = by_role(own)[1]
    for pid in jobs:
        os.kill(pid, signal.SIGKILL)
    while any(map(runs, jobs)):
        pass

    with own.spawn(WARM) as box:
        box.channel.settimeout(20)
        with contextlib.suppress(BrokenPipeError):
            box.channel.sendall(b"noop\n")
        report = report_of(box)

    assert report.outcome in {"exited", "setup_failed"}


def test_a_zygote_that_dies_takes_its_waiting_boxes_along(own):
    """spawn says so, and restart brings a new pool."""
    wait_until(lambda: own.ready == SIZE)
    everybody = descendants(own._process.pid)

    own._process.kill()

    wait_until(lambda: not any(map(runs, everybody)))
    wait_until(lambda: not own.alive)
    with pytest.raises(SetupFailed, match="restart"):
        own.spawn(WARM)
    own.restart()
    with start(own, "noop") as box:
        assert "here" == hear(box)


def test_an_agent_that_dies_takes_its_waiting_boxes_along():
    """Killed without a chance to tidy up, it leaves no process."""
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]; from edgesandbox import *; import time\n"
        "z = Zygote(entry='hostile:deaf', import_paths=sys.argv[2:], warm=2); z.start()\n"
        "while z.ready < 2: time.sleep(0.01)\n"
        "print('up', flush=True); time.sleep(600)"
    )
    package = str(Path(sys.modules["edgesandbox"].__file__).parents[1])
    with subprocess.Popen([sys.executable, "-c", code, package, str(HERE)], stdout=subprocess.PIPE) as agent:
        try:
            assert b"up\n" == agent.stdout.readline()
            wait_until(lambda: len(descendants(agent.pid)) == 2 + 2 * SIZE)  # the probe's sandbox goes in its own time
            everybody = descendants(agent.pid)
        finally:
            agent.kill()

    wait_until(lambda: not any(map(runs, everybody)))


def test_closing_leaves_nothing_of_the_pool():
    """No process, descriptor or thread."""

    def state() -> tuple[set[int], int, int]:
        return descendants(os.getpid()), len(os.listdir("/proc/self/fd")), threading.active_count()

    before = settled(state)
    for _ in range(3):
        with Zygote(entry="hostile:obey", import_paths=[HERE], warm=SIZE):
            pass  # closed while it is being filled, too

    wait_until(lambda: state() == before)


def test_nothing_is_left_over_after_random_kills(own):
    """Jobs that end, are killed or abandoned, and processes shot at random: as many of everything as before."""
    seed = random.randrange(1 << 32)
    choose = random.Random(seed)

    def state():
        counts = [len(pids) for pids in by_role(own)]
        return own.ready, counts, len(os.listdir("/proc/self/fd")), mounts()

    wait_until(lambda: own.ready == SIZE)
    before = settled(state)
    for _ in range(60):
        if choose.random() < 0.3:
            victims = sorted(choose.choice(by_role(own)))
            with contextlib.suppress(ProcessLookupError, IndexError):  # none, or gone meanwhile
                os.kill(choose.choice(victims), signal.SIGKILL)
        box = own.spawn(WARM)
        with contextlib.suppress(BrokenPipeError):
            box.channel.sendall(choose.choice([b"noop", b"sleep", b"outlive", b"deaf"]) + b"\n")
            if choose.random() < 0.3:
                hear(box)
        choose.choice([box.kill, box.cancel, box.close, lambda: None])()
        box.close()

    print(f"seed {seed}")
    wait_until(lambda: own.ready == SIZE and state() == before, 20)


def test_the_pool_is_emptied_when_memory_is_short(own, tmp_path, monkeypatch):
    """And filled again when there is enough; jobs start all the while."""
    wait_until(lambda: own.ready == SIZE)
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  1000 kB\nMemAvailable:  99 kB\n")

    monkeypatch.setattr(headroom, "MEMINFO", meminfo)

    wait_until(lambda: not own.ready)
    wait_until(lambda: by_role(own) == (set(), set()))
    with own.spawn(WARM) as box:
        box.channel.sendall(b"noop\n")
        assert "here" == hear(box)
    meminfo.write_text("MemTotal:  1000 kB\nMemAvailable:  150 kB\n")
    wait_until(lambda: own.ready == SIZE)


def test_a_pool_that_nobody_asks_is_emptied_until_somebody_does(own):
    """The first job after a quiet time starts cold, and those after it do not."""
    wait_until(lambda: own.ready == SIZE)

    own._pool._asked_at -= pool.QUIET_S

    wait_until(lambda: not own.ready)
    wait_until(lambda: by_role(own) == (set(), set()))
    with own.spawn(WARM) as box:
        box.channel.sendall(b"noop\n")
        assert "here" == hear(box)
    wait_until(lambda: own.ready == SIZE)


def test_limits_that_the_kernel_refuses_are_said_to_whoever_asks():
    """No box ever waits; the reason is in the report of the one asked for."""
    limits = dataclasses.replace(LIMITS, nofile=1 << 40)
    with Zygote(entry="hostile:obey", import_paths=[HERE], warm=SIZE, warm_limits=limits) as zygote:
        with zygote.spawn(Spec(limits=limits)) as box:
            report = report_of(box)

        wait_until(lambda: not zygote.ready)

    assert "setup_failed" == report.outcome
    assert "RLIMIT_NOFILE" in report.detail


def test_a_negative_size_is_refused():
    """Before anything is started."""
    with pytest.raises(ValueError, match="warm must be 0 or more"):
        Zygote(entry="hostile:obey", warm=-1)
