"""The pure parts: limits, reports, outcomes, ids, advice."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesandbox import Limits, Outcome, Report, Spec, footprint, supervise
from edgesandbox.diagnose import advise
from edgesandbox.identity import BLOCK, UNUSED_END, UNUSED_FIRST, Ids, choose, parse_map
from edgesandbox.report import Ending, classify, compose, encode_account


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("wall_s", 0),
        ("wall_s", -1.0),
        ("wall_s", float("nan")),
        ("wall_s", float("inf")),
        ("wall_s", "1"),
        ("memory_bytes", 1.5),
        ("memory_bytes", True),
        ("memory_bytes", None),
        ("pids", 0),
        ("nofile", 1 << 60),
    ],
)
def test_an_impossible_limit_is_refused_by_name(field, value):
    """Nothing behind the constructor has to check again."""
    with pytest.raises(ValueError, match=f"limit {field} must be a positive"):
        Limits(**{field: value})


seconds = st.floats(min_value=0.001, max_value=1e6)
numbers = st.integers(min_value=1, max_value=1 << 50)


@given(
    st.builds(
        Spec,
        limits=st.builds(
            Limits, wall_s=seconds, cpu_s=seconds, memory_bytes=numbers, address_space_bytes=st.none() | numbers
        ),
        entry=st.none() | st.text(),
    )
)
def test_a_spec_survives_the_way_to_the_zygote(spec):
    """to_json and from_json are each other's inverse."""
    assert spec == Spec.from_json(spec.to_json())


@given(
    st.builds(
        Report,
        outcome=st.sampled_from(Outcome),
        exit_code=st.none() | st.integers(0, 255),
        signal=st.none() | st.integers(1, 64),
        detail=st.text(),
        wall_s=seconds,
        enforced=st.lists(st.text()).map(tuple),
        not_enforced=st.dictionaries(st.text(), st.text()),
    )
)
def test_a_report_survives_the_way_to_the_agent(report):
    """to_json and from_json are each other's inverse."""
    assert report == Report.from_json(report.to_json())


@pytest.mark.parametrize(
    ("ending", "outcome"),
    [
        (Ending(status=0), "exited"),
        (Ending(status=3 << 8), "exited"),
        (Ending(status=signal.SIGSEGV), "signalled"),
        (Ending(status=signal.SIGKILL), "signalled"),
        (Ending(status=signal.SIGKILL, stopped_for=Outcome.TIMEOUT, out_of_memory=True), "timeout"),
        (Ending(status=0, stopped_for=Outcome.CANCELLED), "cancelled"),
        (Ending(status=signal.SIGXCPU, cpu_s=0.99, cpu_limit_s=1.0), "cpu_limit"),
        (Ending(status=signal.SIGXCPU, cpu_s=0.1, cpu_limit_s=1.0), "signalled"),
        (Ending(status=signal.SIGKILL, cpu_s=6.0, cpu_limit_s=1.0), "cpu_limit"),
        (Ending(status=signal.SIGKILL, cpu_s=0.5, cpu_limit_s=1.0), "signalled"),
        (Ending(status=signal.SIGXFSZ), "disk_limit"),
        (Ending(status=1 << 8, disk_full=True), "disk_limit"),
        (Ending(status=0, disk_full=True), "exited"),
        (Ending(status=1 << 8, out_of_memory=True, disk_full=True), "memory_limit"),
        (Ending(status=0, out_of_memory=True), "exited"),
    ],
)
def test_outcomes_are_told_apart(ending, outcome):
    """The supervisor's reason first, then the kernel's, then the program's."""
    assert outcome == classify(ending)


@pytest.mark.parametrize(
    ("extents", "ids"),
    [
        ("         0          0 4294967295\n", Ids(UNUSED_FIRST + 7 * BLOCK, BLOCK)),
        ("0 1000 1\n", None),
        ("0 1000 1\n1 100000 65536\n", Ids(1 + 65536 - 16384, 16384)),
        ("", None),
    ],
)
def test_jobs_get_ids_that_nobody_has(extents, ids):
    """On a host, in a rootless container, and where there is only one."""
    assert ids == choose(parse_map(extents), 7)


@given(st.integers(min_value=1, max_value=1 << 22))
def test_ids_stay_in_the_range_that_is_nobodys(seed):
    """For every process id a launcher may have."""
    ids = choose([(0, 0, 4294967295)], seed)

    assert UNUSED_FIRST <= ids.first
    assert ids.first + ids.count <= UNUSED_END


@pytest.mark.parametrize(
    ("setting", "value", "advice"),
    [
        ("proc/sys/user/max_user_namespaces", "0\n", "sysctl -w user.max_user_namespaces=15000"),
        ("proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
        ("proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "apparmor_restrict_unprivileged_userns=0"),
        (".dockerenv", "", "systempaths=unconfined"),
        ("proc/sys/user/max_user_namespaces", "9", "unshare --user true"),
    ],
)
def test_advice_says_what_to_type(tmp_path, setting, value, advice):
    """One line, from what this host is set to."""
    (tmp_path / setting).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / setting).write_text(value)

    line = advise("unshare: Operation not permitted", host=tmp_path)

    assert advice in line
    assert "Operation not permitted" in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("left_bytes", "cost_s", "pause_s"),
    [(2 << 30, 0.001, 0.25), (512 << 20, 0.001, 0.125), (1 << 20, 0.001, 0.02), (-1, 0.001, 0.02), (0, 0.05, 0.5)],
)
def test_the_watchdog_looks_the_sooner_the_less_is_left(left_bytes, cost_s, pause_s):
    """Between 20 and 250 ms, and never for more than a tenth of the processor."""
    assert pause_s == supervise.pause_s(left_bytes, cost_s)


@pytest.mark.parametrize(
    ("blocks_free", "files", "files_free", "full"),
    [(0, 100, 50, True), (10, 100, 0, True), (10, 100, 1, False), (10, 0, 0, False)],
)
def test_a_file_system_that_counts_no_inodes_is_not_full_for_that(blocks_free, files, files_free, full):
    """btrfs has none of none left, always."""
    state = os.statvfs_result((4096, 4096, 100, blocks_free, blocks_free, files, files_free, files_free, 0, 255))

    assert full == footprint.is_full(state)


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        (Ending(status=0, oom_killed=True), ("memory_limit", 0, None)),
        (Ending(status=3 << 8, stopped_for=Outcome.TIMEOUT), ("timeout", 3, None)),
        (Ending(status=9, stopped_for=Outcome.MEMORY_LIMIT), ("memory_limit", None, 9)),
        (Ending(status=0, stopped_for=Outcome.SETUP_FAILED), ("setup_failed", None, None)),
        (Ending(status=9, stopped_for=Outcome.SETUP_FAILED), ("setup_failed", None, None)),
    ],
)
def test_a_report_has_the_exit_code_of_a_program_that_exited(ending, expected):
    """Also where a limit was found to be exceeded only then; a sandbox that failed has had no program."""
    report = compose(ending.pack() + encode_account("B", [], {}))

    assert expected == (report.outcome, report.exit_code, report.signal)
