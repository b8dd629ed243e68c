"""The text of the unit that a node is started by, for the system and for one user.  Pure.

The system's unit gives the node a user of its own and takes from it what it does not need; its comments say of each
thing that is left why the sandbox needs it, since ``systemd-analyze security`` counts it.  A user's manager may take
nothing away without taking newuidmap's effect, too, so a user's unit is short.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import PurePath

import attrs

from edgeagent.errors import UsageError

NAME = "edgeagent.service"
#: Whom the system's unit runs as, and where that user's node lives.
USER, HOME = "edgeagent", PurePath("/var/lib/edgeagent")
#: Exit code that asks for a new start: EX_TEMPFAIL of sysexits.h.
RESTART = 75
#: Seconds after which a node that says nothing is started again.  More than a start takes on a slow machine.
WATCHDOG_S = 120
#: Seconds for a start: the sandbox proves itself and opens the spool first.
START_S = 300
#: First version that has RestartSteps= and DelegateSubgroup= (its NEWS).
_STEPS, _SUBGROUP = 254, 254

_UNIT = """\
# Written by: edgeagent service install.  Your own changes belong into a drop-in: systemctl {scope}edit edgeagent
[Unit]
Description=edgeagent: lends this machine to a compute network
{ordering}# Not for ever: a node that falls twenty times in an hour needs a person.
StartLimitIntervalSec=1h
StartLimitBurst=20

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
# Drains, then ends with {restart} to be started with its options as they are by then; wrong ones leave it as it is.
# The shell's own kill: small systems have no other.
ExecReload=/bin/sh -c "kill -HUP $MAINPID"
RestartForceExitStatus={restart}
SuccessExitStatus={restart}
Restart=on-failure
{backoff}# 2: an option is wrong, 3: the gateway does not want this node.  Neither mends itself.
RestartPreventExitStatus=2 3
WatchdogSec={watchdog}
TimeoutStartSec={start}
# What running jobs get (shutdown.grace), and then results to be sent; the node asks for more where it needs more.
TimeoutStopSec={stop}
# SIGTERM is for the agent alone, which drains.  What is left when it has ended, or the time is up, is killed.
KillMode=mixed
Environment=EDGEAGENT_HOME={home}
# The sandbox makes a control group for each job in the service's own (tier A).
Delegate=yes
{subgroup}{hardening}
[Install]
WantedBy={target}
"""

_SYSTEM = """\
# As a user of its own, not a dynamic one: ids for jobs are set aside by name in /etc/subuid.  Not as root: what breaks
# out of the agent is nobody in particular.
User={user}
Group={user}
StateDirectory=edgeagent
StateDirectoryMode=0700
UMask=0077
Slice=system.slice

# Lent to the sandbox's launcher, which gives each job an id of its own from /etc/subuid.  newuidmap, which does so
# elsewhere, has no effect under NoNewPrivileges=, and without that there is no filter of system calls.  The launcher is
# started first and holds no secret; the agent gives both up before it reads its key.
CapabilityBoundingSet=CAP_SETUID CAP_SETGID
AmbientCapabilities=CAP_SETUID CAP_SETGID
NoNewPrivileges=yes

# Files: its own directory, and of the control groups its own.
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateMounts=yes
ProtectControlGroups=yes
ReadWritePaths=-/sys/fs/cgroup/system.slice/{name}
ProtectKernelModules=yes
ProtectClock=yes
ProtectProc=invisible
# Left out: ProtectKernelTunables=, ProtectKernelLogs= and ProcSubset=.  They cover parts of /proc, and the kernel then
# allows no other /proc, which each sandbox needs.

# Devices: none{devices}.
PrivateDevices=yes
DevicePolicy=closed
{gpus}
# System calls.  @mount: each sandbox builds a file tree of its own.  Jobs have a narrower filter besides.
SystemCallFilter=@system-service @mount {calls}
SystemCallFilter=~@clock @keyring @resources
SystemCallErrorNumber=EPERM
SystemCallArchitectures=native
# Left out: RestrictNamespaces=, since namespaces are what jobs are kept in; ProtectHostname=, since each has a name of
# its own; MemoryDenyWriteExecute=, since renderers and models compile for the processor that they find; PrivateUsers=,
# in which the jobs' ids do not exist.

# Network: the gateway and inputs, wherever they are (no PrivateNetwork=, no IPAddressDeny=).  Jobs have none.
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
KeyringMode=private
RemoveIPC=yes
"""

_OF_USER = """\
UMask=0077
# Nothing is taken away here: a user's manager can do so only with no_new_privs, under which newuidmap has no effect,
# and jobs would share this user's id.  The jobs themselves are confined as everywhere.
NoNewPrivileges=no
"""
#: What @system-service of systemd 252 lacks and the sandbox needs.
_CALLS = ("sethostname", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self", "seccomp")


@attrs.frozen(kw_only=True)
class Service:
    """What a unit depends on.

    Attributes:
        program: ``edgeagent``, as an absolute path.
        home: the node's directory.
        stop_s: seconds from SIGTERM to the end, at most.
        systemd: the manager's version.
        system: for the system; else for one user.
        gpus: device nodes that jobs may be lent.
    """

    program: PurePath
    home: PurePath
    stop_s: float
    systemd: int
    system: bool = True
    gpus: tuple[str, ...] = ()


def text(service: Service) -> str:
    """Return the unit's text.

    Raises:
        UsageError: a path cannot be said in a unit.
    """
    network = "Wants=network-online.target\nAfter=network-online.target\n"
    return _UNIT.format(
        scope="" if service.system else "--user ",
        ordering=network if service.system else "",  # a user's manager has no such target
        command=f"{quoted(service.program)} run",
        restart=RESTART,
        backoff=_backoff(service.systemd),
        watchdog=WATCHDOG_S,
        start=START_S,
        stop=math.ceil(service.stop_s),
        home=quoted(service.home),
        subgroup="DelegateSubgroup=edgesandbox.agent\n" if service.systemd >= _SUBGROUP else "",
        hardening=_hardening(service.gpus) if service.system else _OF_USER,
        target="multi-user.target" if service.system else "default.target",
    )


def quoted(path: PurePath) -> str:
    """Return a path as one word of a unit: systemd.syntax(7), and % and $ doubled.

    Raises:
        UsageError: it holds a line's end or the like.
    """
    word = str(path)
    if not word.isprintable():
        raise UsageError(f"{word!r} has characters that no unit can name; install edgeagent at another path")
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{word}"' if set(word) & set(" '\";") else word


def _backoff(systemd: int) -> str:
    """Return how long systemd waits before it starts a node again that has fallen: longer each time, where it can."""
    if systemd >= _STEPS:
        return "RestartSec=2s\nRestartSteps=8\nRestartMaxDelaySec=5min\n"
    return "# Newer versions of systemd wait longer each time (RestartSteps=).\nRestartSec=10s\n"


def _hardening(gpus: Iterable[str]) -> str:
    nodes = tuple(gpus)
    lent = "".join(f"BindPaths=-{node}\nDeviceAllow={node} rw\n" for node in nodes)
    return _SYSTEM.format(
        user=USER,
        name=NAME,
        calls=" ".join(_CALLS),
        devices=" but the GPUs that were here at the installation" if nodes else "",
        gpus=lent,
    )
