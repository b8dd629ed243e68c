"""One zygote for all sandbox tests, and a way to run one job in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sandboxing import HERE, LIMITS, Ended, hear, read_all, report_of, say
from victims import Victims

from edgesandbox import Box, SandboxUnavailable, Spec, Zygote


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """A running zygote that has imported the hostile programs."""
    zygote = Zygote(entry="hostile:noop", import_paths=[HERE])
    try:
        zygote.start()
    except SandboxUnavailable as problem:
        pytest.skip(str(problem))
    yield zygote
    zygote.close()


@pytest.fixture(scope="session")
def all_victims(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victims]:
    """What no hostile program may harm, once for all tests."""
    victims = Victims(zygote, tmp_path_factory.mktemp("victims"))
    yield victims
    victims.close()


@pytest.fixture
def victims(all_victims: Victims) -> Iterator[Victims]:
    """What stands beside a hostile program; looked at when the test is over."""
    yield all_victims
    all_victims.check()


@pytest.fixture
def spawn(zygote: Zygote, victims: Victims) -> Iterator[Callable[..., Box]]:
    """Start one of the hostile programs beside the victims; closed at the end of the test."""
    boxes: list[Box] = []

    def spawn(program: str, without: tuple[str, ...] = (), **limits: Any) -> Box:
        entry = program if ":" in program else f"hostile:{program}"
        spec = Spec(entry=entry, limits=dataclasses.replace(LIMITS, **limits), without=without)
        box = zygote.spawn(spec)
        boxes.append(box)
        return box

    yield spawn
    for box in boxes:
        box.close()


@pytest.fixture
def run(spawn: Callable[..., Box]) -> Callable[..., Ended]:
    """Run one of the hostile programs to its end; ``asked`` is what it is sent first."""

    def run(program: str, asked: object = None, **limits: Any) -> Ended:
        box = spawn(program, **limits)
        if asked is not None:
            say(box, asked)
        answer = hear(box)
        report = report_of(box)
        return Ended(report, answer, read_all(box.output_fd))

    return run
