"""A job's own /dev and /sys: what every job has, and what this one was granted.

Called by the job's init, in the job's mount namespace, for jobs with a grant only; all others keep the /dev of the
template tree.  What is not granted is not there: a directory that the job cannot write holds mount points for exactly
the nodes listed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from edgesandbox import linux, root
from edgesandbox.grant import Grant

_OWN = linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NODEV | linux.MOUNT_ATTR_NOEXEC
# Without MOUNT_ATTR_NODEV: with it, nobody could open the device.
_NODE = linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NOEXEC


def furnish(grant: Grant, mounts: Sequence[int]) -> None:
    """Mount what is granted and set the variables; ``mounts`` are the launcher's, for ``grant.places``, closed here.

    Raises:
        OSError: the kernel refused a step, or this job's user may not open a device; the text names it.
    """
    os.environ.update(grant.env)
    granted = dict(zip((path for path, _source in grant.places), mounts, strict=True))
    devices = [path for path, _source in grant.devices]
    if devices:
        harmless = {f"/dev/{name}": linux.clone_tree(f"/dev/{name}") for name in root.DEVICES}
        nodes = harmless | {path: granted[path] for path in devices}
        _cover("/dev", nodes, root.LINKS, _NODE, directories=False)
    if grant.shown or grant.links:
        shown = {path: granted[path] for path, _source in grant.shown}
        _cover("/sys", shown, dict(grant.links), _OWN | linux.MOUNT_ATTR_RDONLY, directories=True)
    for path in devices:
        if not os.access(path, os.R_OK | os.W_OK):
            raise OSError(f"jobs run as another user, who may not open {path}; type: chmod o+rw {path}")


def _cover(top: str, mounts: dict[str, int], links: dict[str, str], flags: int, *, directories: bool) -> None:
    """Put a tree of its own over ``top``, with these mounts and links in it and room for nothing else."""
    linux.mount("job", top, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC, "size=1m,mode=0755")
    for path, mount in mounts.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        if directories:
            Path(path).mkdir(exist_ok=True)
        else:
            Path(path).touch()
        linux.attach(mount, path)
        linux.set_mount_flags(path, flags, recursive=False)
        os.close(mount)
    for path, target in links.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).symlink_to(target)
    linux.set_mount_flags(top, _OWN | linux.MOUNT_ATTR_RDONLY, recursive=False)
