"""``nox -s package``: build the wheel, install it by pipx and by uv into clean places, and use it there.

The environments that result hold what a node needs and nothing of the gateway's.  Both installers and ``build`` come
from the environment that runs this.  For systems that are not here it is asked whether all that is needed can be had
without a compiler; what the commands say there is in tests/cli/test_other_systems.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).parents[2]
BESIDE = Path(sys.executable).parent
#: Of the gateway alone; pyproject.toml's extra.
GATEWAY = ("alembic", "litestar", "msgspec", "obstore", "sqlalchemy")
#: (words, exit code, what is said)
USES = (
    (("edgeagent", "--help"), 0, "Lend your machine"),
    (("edgeagent", "--version"), 0, "edgeagent "),
    (("edgeagent", "config", "show"), 0, "shutdown"),
    (("edgeagent", "run"), 2, "register this machine"),
    (("edgeagent", "gateway", "run", "--data", "unused"), 2, "pip install 'edgeagent[gateway]'"),
    (("edgesandbox", "--help"), 0, "usage: edgesandbox"),
)


#: Where `edgeagent` has jobs submitted and says that a node runs in Docker, as uv names them.
ELSEWHERE = ("aarch64-apple-darwin", "x86_64-apple-darwin", "x86_64-pc-windows-msvc")


def main() -> int:
    """Return 0 when both ways work."""
    faults = 0
    with tempfile.TemporaryDirectory(prefix="package-") as scratch:
        folder = Path(scratch)
        _run([BESIDE / "python", "-m", "build", "--installer=uv", "--wheel", "--outdir", folder, PROJECT], {})
        (wheel,) = folder.glob("edgeagent-*.whl")
        for name, command, environ in (
            ("pipx", ["pipx", "install", wheel], {"PIPX_HOME": folder / "pipx", "PIPX_BIN_DIR": folder / "pipx-bin"}),
            (
                "uv",
                ["uv", "tool", "install", wheel],
                {"UV_TOOL_DIR": folder / "uv", "UV_TOOL_BIN_DIR": folder / "uv-bin"},
            ),
        ):
            _run([BESIDE / command[0], *command[1:]], environ)
            faults += _use(name, folder / f"{name}-bin", folder / f"{name}-home")
            faults += _lean(name, folder / name)
        faults += sum(_can_be_had(wheel, platform, folder / "elsewhere") for platform in ELSEWHERE)
    return 1 if faults else 0


def _run(command: list[str | Path], environ: dict[str, Path]) -> None:
    subprocess.run(command, env={**os.environ, **{key: str(value) for key, value in environ.items()}}, check=True)


def _use(name: str, programs: Path, home: Path) -> int:
    """Run each command in an environment that knows nothing of this project; return how many went wrong."""
    faults = 0
    for words, code, said in USES:
        environ = {"PATH": "/usr/bin:/bin", "HOME": str(home), "EDGEAGENT_HOME": str(home)}
        command = [programs / words[0], *words[1:]]
        done = subprocess.run(command, capture_output=True, text=True, env=environ, cwd="/", timeout=120, check=False)
        good = done.returncode == code and said in done.stdout + done.stderr and "Traceback" not in done.stderr
        print(f"{name:5} {'ok' if good else 'FAILED'}: {' '.join(words)}")
        if not good:
            print(f"exit {done.returncode}, expected {code} and {said!r}\n{done.stdout}{done.stderr}")
        faults += not good
    return faults


def _lean(name: str, environment: Path) -> int:
    """Say whether nothing of the gateway's is in the environment; returns 1 where something is."""
    packages = {path.name.partition("-")[0].lower() for path in environment.rglob("*.dist-info")}
    extra = packages & set(GATEWAY)
    good = bool(packages & {"trio"}) and not extra
    print(
        f"{name:5} {'ok' if good else 'FAILED'}: {len(packages)} packages, of the gateway's: {sorted(extra) or 'none'}"
    )
    return int(not good)


def _can_be_had(wheel: Path, platform: str, folder: Path) -> int:
    """Say whether there are wheels of all that the wheel needs on a platform; returns 1 where something lacks one."""
    options = ["--dry-run", "--only-binary=:all:", f"--python-platform={platform}", f"--target={folder}"]
    command = [BESIDE / "uv", "pip", "install", f"--python={sys.executable}", *options, wheel]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    good = done.returncode == 0 and "+ edgeagent" in done.stderr
    print(f"{platform} {'ok' if good else 'FAILED: ' + done.stdout + done.stderr}")
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
