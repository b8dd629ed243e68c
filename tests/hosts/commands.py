"""What a test has done on the other side, whichever way leads there: commands, and what systemd says of a unit."""

from __future__ import annotations

import abc
import subprocess

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class CommandFailedError(AssertionError):
    """A command on the other side failed; what it said."""


class Commands(abc.ABC):
    """A machine on which commands can be run."""

    @abc.abstractmethod
    def done(self, *command: str, user: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, whatever that is; ``user`` needs no session."""

    def run(self, *command: str, user: str = "", **environ: str) -> str:
        """Run a command and return what it prints.

        Raises:
            CommandFailedError: it ended with another exit code than 0.
        """
        done = self.done(*command, user=user, **environ)
        if done.returncode:
            raise CommandFailedError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def shown(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.run("systemctl", "show", f"--property={name}", "--value", unit).strip()


def words(command: tuple[str, ...], user: str, environ: dict[str, str]) -> list[str]:
    """Return the command line that runs a command with nothing in its environment but what is given, and a user."""
    as_user = ("runuser", "-u", user, "--") if user else ()
    given = [f"{name}={value}" for name, value in ({"HOME": "/root", "PATH": PATH} | environ).items()]
    return ["env", "-i", *given, *as_user, *command]
