"""The API against its own description: schemathesis sends what the document allows, and what it does not."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path

import trio
from scripted import DIGEST, FILE, PortGateway, on_a_port, submit, upload

from edgeagent.gateway.ceilings import Ceilings
from edgeagent.wire.messages import Outcome, Output

#: Of what is asked from one address here.
UNLIMITED = Ceilings(registrations_each=1e6, registrations_together=1e6, visits_each=1e6)

#: The same requests each time, few enough for slow machines.  What is valid by its shape may still be refused: by what
#: a key in PEM is, by which job types there are, by how a job stands.
CONFIG = """\
hooks = "{hooks}"
request-timeout = 30.0
max-stream-events = 3
continue-on-failure = true
warnings = false

[generation]
max-examples = 3
deterministic = true
database = "none"
no-shrink = true

[phases.coverage]
unexpected-methods = ["DELETE", "OPTIONS", "PATCH"]

[parameters]
"path.job_id" = "{job}"
"path.name" = "picture"

[[operations]]
include-path = "/api/v1/jobs/dispatch"
checks.not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "503"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "402", "422", "429", "503"]

[auth.openapi.account]
bearer = "{account}"

[auth.openapi.node]
bearer = "{node}"

[checks.positive_data_acceptance]
expected-statuses = [
  "2xx", "400", "401", "403", "404", "409", "410", "411", "412", "413", "415", "416", "422", "429", "460",
]

[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "406", "409", "412", "413", "415", "422", "428", "429", "5xx"]

[checks.missing_required_header]
expected-statuses = ["400", "401", "403", "404", "412", "415", "422"]
"""
HOOKS = Path(__file__).with_name("schema_hooks.py")


async def test_the_api_does_what_its_document_says(tmp_path: Path) -> None:
    """Every check of schemathesis on every operation: no 500, nothing undescribed, no token left unasked."""
    config = tmp_path / "schemathesis.toml"
    # Its requests are counted and each has its timeout; how long they take together is the machine's affair.
    async with on_a_port(tmp_path / "data", limit_s=math.inf, ceilings=UNLIMITED) as gateway:
        account = await gateway.account()
        job, node = await _done(gateway, account)
        config.write_text(CONFIG.format(hooks=HOOKS, account=account, node=node, job=job))
        address = f"{gateway.url}/schema/openapi.json"
        done = await trio.run_process(
            [sys.executable, "-m", "schemathesis.cli", "--config-file", config, "run", address, "--checks", "all"],
            check=False,
            capture_stdout=True,
            capture_stderr=True,
        )
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    assert int((re.search(r"([0-9]+) generated, [0-9]+ passed", said) or [0, 0])[1]) > 300, said
    async with on_a_port(tmp_path / "data") as gateway, gateway.http(account) as http:
        assert (await http.get("/account")).json()["name"] == "studio"


async def test_the_reference_asks_nobody_else(port_gateway: PortGateway) -> None:
    """The page shows every operation, names no other host, and forbids scripts."""
    async with port_gateway.http(prefix="") as http:
        document = (await http.get("/schema/openapi.json")).json()
        page = await http.get("/schema")
        style = await http.get("/static/reference.css")

    assert document["openapi"].startswith("3.1")
    for path, operations in document["paths"].items():
        for method in operations:
            assert f"<code>{method.upper()} {path}</code>" in page.text
    assert not re.search(r"(?:src|href)=.?(?:https?:)?//", page.text)
    assert "<script" not in page.text
    assert page.headers["content-security-policy"].startswith("default-src 'none'; style-src 'self'")
    assert (style.status_code, style.headers["content-type"]) == (200, "text/css; charset=utf-8")
    assert "url(" not in style.text


async def _done(gateway: PortGateway, account: str) -> tuple[str, str]:
    """Have a job done that leaves a file; return it, and the token of a node."""
    operator = await gateway.enlist()
    async with gateway.http(account) as http, gateway.as_node(operator) as node:
        await node.ready()
        job = await submit(http)
        dispatch = await node.accept()
        (await upload(gateway, operator, dispatch.attempt_id, "picture")).raise_for_status()
        picture = Output(name="picture", size_bytes=len(FILE), sha256=DIGEST)
        await node.finish(dispatch, Outcome.COMPLETED, outputs=(picture,))
    return job["job_id"], operator.token
