"""A Debian tree in which the node is installed as docs/service.md says: the wheel that is built here, by pipx.

What it needs comes as wheels that are fetched out here: a machine needs to reach no package index.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import ingredients
import trees


def tree(cache: Path, root: Path) -> None:
    """Make ``root`` a tree that boots, with ``edgeagent`` on its PATH."""
    trees.copy(trees.machine(cache), root)
    with tempfile.TemporaryDirectory(prefix="wheels-") as scratch:
        wheel = wheelhouse(Path(scratch, "wheels"))
        trees.copy(wheel.parent, root / "wheels")
    places = {"PIPX_HOME": "/opt/pipx", "PIPX_BIN_DIR": "/usr/local/bin"}
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels"}
    install = ("pipx", "install", "--pip-args", "--no-index --find-links=/wheels", f"/wheels/{wheel.name}")
    trees.within(root, *install, **places, **offline)


def wheelhouse(folder: Path) -> Path:
    """Fill a folder with the project's wheel and all that it and pipx need on the tree's Python; returns that wheel."""
    pip = [sys.executable, "-m", "pip"]
    ingredients.run(*pip, "wheel", "--no-deps", "--wheel-dir", folder, ingredients.PROJECT, timeout_s=600)
    (wheel,) = folder.glob("edgeagent-*.whl")
    version = ".".join(map(str, ingredients.PYTHON))
    fetch = [*pip, "download", "--dest", folder, "--python-version", version, "--only-binary", ":all:"]
    ingredients.run(*fetch, wheel, "pip", "setuptools", "wheel", timeout_s=ingredients.BUILD_TIMEOUT_S)
    return wheel
