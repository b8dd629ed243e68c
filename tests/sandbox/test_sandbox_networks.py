"""Network namespaces are used again, and nobody can tell."""

from __future__ import annotations

import pytest
from sandboxing import hear, report_of, say, wait_until


def visit(spawn, farewell: str):
    """Run a job that binds an abstract socket; returns its box and what it saw."""
    box = spawn("leave_a_socket")
    seen = hear(box)
    say(box, farewell)
    assert "exited" == report_of(box).outcome
    return box, seen


def test_a_network_is_used_again_and_is_empty(spawn):
    """A later job gets the namespace of an earlier one, sees no socket in it, and can bind the same name."""
    networks: list[str] = []

    def again() -> bool:
        box, (network, sockets, bound) = visit(spawn, "end")
        box.close()
        assert (0, "done") == (sockets, bound)
        networks.append(network)
        return networks.count(network) > 1

    wait_until(again)


def test_living_jobs_never_share_a_network(spawn):
    """Neither at first nor once there are some to use again."""
    for _ in range(2):
        boxes = [spawn("leave_a_socket") for _ in range(4)]
        seen = [hear(box) for box in boxes]
        for box in boxes:
            say(box, "end")
            report_of(box)

        assert 4 == len({network for network, _sockets, _bound in seen})
        assert {(0, "done")} == {(sockets, bound) for _network, sockets, bound in seen}


@pytest.mark.parametrize("times", [1, 8])
def test_a_network_in_which_a_socket_is_left_is_not_used_again(spawn, times):
    """A socket that the dead job has sent to the agent, which has not read it, lives on; nobody meets it."""
    left = [visit(spawn, "send it") for _ in range(times)]
    used = {network for _box, (network, _sockets, _bound) in left}

    for _ in range(8):
        box, (network, sockets, bound) = visit(spawn, "end")
        box.close()
        assert network not in used
        assert (0, "done") == (sockets, bound)
