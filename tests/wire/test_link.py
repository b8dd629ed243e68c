"""The link's table: who may say what, when."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edgeagent.wire import messages as m
from edgeagent.wire.codec import LocalProtocolError, RemoteProtocolError, encode
from edgeagent.wire.link import HANDSHAKE_S, TRANSITIONS, Link, Role, State

HELLO = m.Hello(version="1", capabilities=("echo",), slots=1)
WELCOME = m.Welcome(heartbeat_s=15, lease_s=60)
SAMPLES: dict[type, m.Message] = {
    m.Hello: HELLO,
    m.Welcome: WELCOME,
    m.Heartbeat: m.Heartbeat(seq=1, load=0, free_slots=1),
    m.HeartbeatAck: m.HeartbeatAck(seq=1, state=m.NodeState.HEALTHY),
    m.JobDispatch: m.JobDispatch(job_id="j", attempt_id="a", job_type="echo"),
    m.JobAccept: m.JobAccept(attempt_id="a"),
    m.JobDecline: m.JobDecline(attempt_id="a", reason="full"),
    m.JobProgress: m.JobProgress(attempt_id="a", fraction=0.5),
    m.JobResult: m.JobResult(job_id="j", attempt_id="a", outcome=m.Outcome.COMPLETED),
    m.JobResultAck: m.JobResultAck(attempt_id="a"),
    m.JobCancel: m.JobCancel(attempt_id="a", reason="asked"),
    m.Drain: m.Drain(reason="update"),
    m.Bye: m.Bye(reason="update"),
}


def opened(role: Role, now: float = 0.0) -> Link:
    """Return a link past its handshake."""
    link = Link(role, now)
    if role is Role.NODE:
        link.send(HELLO)
        link.receive(encode(WELCOME), now)
    else:
        link.receive(encode(HELLO), now)
        link.send(WELCOME)
    return link


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("sender", Role)
@pytest.mark.parametrize("kind", SAMPLES)
def test_only_the_table_is_allowed(state: State, sender: Role, kind: type[m.Message]) -> None:
    """Each message in each state, from each end: the table's move, or an error that changes nothing."""
    ours, theirs = Link(sender, 0.0), Link(sender.peer, 0.0)
    ours.state = theirs.state = state
    frame = encode(SAMPLES[kind])
    after = TRANSITIONS.get((state, sender, kind))

    if after is None:
        with pytest.raises(LocalProtocolError, match=f"{sender.value} may not send"):
            ours.send(SAMPLES[kind])
        with pytest.raises(RemoteProtocolError, match=f"{sender.value} may not send"):
            theirs.receive(frame, 1.0)
        after = state
    else:
        assert theirs.receive(ours.send(SAMPLES[kind]), 1.0) == (SAMPLES[kind],)

    assert (ours.state, theirs.state) == (after, after)


def test_a_bad_message_in_a_batch_spoils_the_batch() -> None:
    """The state does not move half-way through a frame."""
    link = Link(Role.GATEWAY, 0.0)

    with pytest.raises(RemoteProtocolError):
        link.receive(encode(HELLO, HELLO), 1.0)

    assert link.state is State.NEW


def test_the_handshake_has_ten_seconds() -> None:
    """Before Welcome the peer counts as gone after HANDSHAKE_S."""
    assert Link(Role.GATEWAY, 100.0).silent_at() == 100.0 + HANDSHAKE_S


@pytest.mark.parametrize("role", Role)
def test_an_open_link_may_be_silent_for_three_intervals(role: Role) -> None:
    """15 s heartbeats: gone after 45 s, counted from the last word heard, not said."""
    link = opened(role, now=100.0)

    link.send(SAMPLES[m.Drain])

    assert link.silent_at() == 145.0


def test_each_word_heard_puts_the_silence_off() -> None:
    """Any message counts, a refused one does not."""
    link = opened(Role.GATEWAY, now=0.0)
    link.receive(encode(SAMPLES[m.JobProgress]), 30.0)

    with pytest.raises(RemoteProtocolError):
        link.receive(encode(WELCOME), 40.0)

    assert link.silent_at() == 75.0


class TwoEnds(RuleBasedStateMachine):
    """Both ends say whatever their table allows, with messages in flight both ways."""

    def __init__(self) -> None:
        """Start with two ends that have not said a word."""
        super().__init__()
        self.ends = {role: Link(role, 0.0) for role in Role}
        self.wire: dict[Role, list[str]] = {role: [] for role in Role}  # frames on their way to that end

    @rule(role=st.sampled_from(Role), kind=st.sampled_from(list(SAMPLES)))
    def send(self, role: Role, kind: type[m.Message]) -> None:
        """An end sends what it may; what it may not is refused locally."""
        end = self.ends[role]
        if (end.state, role, kind) in TRANSITIONS:
            self.wire[role.peer].append(end.send(SAMPLES[kind]))
        else:
            with pytest.raises(LocalProtocolError):
                end.send(SAMPLES[kind])

    @precondition(lambda self: any(self.wire.values()))
    @rule(role=st.sampled_from(Role))
    def deliver(self, role: Role) -> None:
        """Whatever was allowed when sent is allowed when it arrives, however the two crossed."""
        if self.wire[role]:
            self.ends[role].receive(self.wire[role].pop(0), 0.0)

    @invariant()
    def both_end_up_alike(self) -> None:
        """With nothing in flight, both ends agree on the state."""
        if not any(self.wire.values()):
            assert self.ends[Role.NODE].state is self.ends[Role.GATEWAY].state


TwoEnds.TestCase.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
test_what_one_end_may_send_the_other_accepts = TwoEnds.TestCase
