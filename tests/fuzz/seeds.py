"""What a fuzzer starts from: for each target, something that it accepts."""

from __future__ import annotations

import json

from edgeagent.plugins.channel import done_line, progress_line, start_line
from edgesandbox import Outcome, Report, Spec
from edgesandbox.report import Ending, encode_account

_REPORT = Report(outcome=Outcome.EXITED, exit_code=0, enforced=("seccomp",), not_enforced={"landlock": "not here"})
_ACCOUNT = encode_account("A", ["seccomp"], {"landlock": "not here"})

SEEDS: dict[str, list[bytes]] = {
    "channel": [
        progress_line(0.5, "half way") + done_line(success=True, value={"a": [1, 2.5, None, "x"]}, result_ref="s3://x"),
        start_line("12345678-1234-5678-1234-567812345678", "echo", {"hello": "world"}),
    ],
    "ending": [Ending(status=9, stopped_for=Outcome.TIMEOUT, detail="why").pack() + _ACCOUNT],
    "packet": [b'{"ready": true}'],
    "report": [json.dumps(_REPORT.to_json()).encode()],
    "spec": [json.dumps(Spec(entry="module:function", without=("seccomp",)).to_json()).encode()],
}
