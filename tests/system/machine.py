"""A gateway and a node as processes, each of which can be killed and started again where it left off."""

from __future__ import annotations

from pathlib import Path

from plugin_files import QUICK, plugin

from edgeagent.demo.network import program
from edgeagent.gateway.accounts import create_token
from edgeagent.node import enrol
from edgeagent.wire.units import UCR_PER_CREDIT
from edgeagent.wire.urls import GatewayUrl


class Machine:
    """A gateway on a fixed port and a node, each of which can be killed and started again."""

    def __init__(self, directory: Path, **bodies: str) -> None:
        """Prepare it, with a plugin for each job type that is given with the body of its ``execute``."""
        self.directory = directory
        self.port = "0"
        self._job_types = tuple(bodies)
        (directory / "node" / "plugins").mkdir(parents=True)
        for job_type, body in bodies.items():
            (directory / "node" / "plugins" / f"{job_type}.py").write_text(plugin(job_type, body))

    def gateway(self):
        """Run the gateway; the same data and, from the second time on, the same port."""
        data = str(self.directory / "gateway")
        command = ("gateway", "run", "--data", data, "--port", self.port, *QUICK)
        return program(*command, log=self.directory / "gateway.log")

    def node(self, **options: str):
        """Run the node, with further variables in its environment."""
        environ = {"EDGEAGENT_HOME": str(self.directory / "node"), "HEALTH_PORT": "0", **options}
        return program("run", log=self.directory / "node.log", environ=environ)

    async def set_up(self, address: str) -> tuple[GatewayUrl, str, enrol.Registered]:
        """Register the node and make a submitter, once the gateway runs."""
        url = GatewayUrl.parse(address)
        self.port = address.rpartition(":")[2]
        token = create_token(self.directory / "gateway", "s", 100 * UCR_PER_CREDIT)
        node = await enrol.register(self.directory / "node", url, "n", self._job_types, force=False)
        return url, token, node
