"""nginx as a plain file server that takes uploads (WebDAV): what somebody would use who needs no more than that."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import BenchmarkError

NAME = "nginx, WebDAV"
_START_S = 20.0
_CONFIG = """
daemon off;
worker_processes 1;
{user}
pid {folder}/pid;
error_log {folder}/log;
events {{ worker_connections 64; }}
http {{
  access_log off;
  sendfile on;
  client_max_body_size 0;
  client_body_temp_path {folder}/coming;
  fastcgi_temp_path {folder}/x1; proxy_temp_path {folder}/x2; scgi_temp_path {folder}/x3; uwsgi_temp_path {folder}/x4;
  server {{
    listen 127.0.0.1:{port};
    root {folder}/files;
    dav_methods PUT;
  }}
}}
"""


def missing() -> str | None:
    """Return why there is no such server here, if so."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        return "nginx is not installed (Debian: nginx-light)"
    built = subprocess.run([program, "-V"], capture_output=True, text=True, check=False).stderr
    return None if "http_dav_module" in built else "this nginx was built without WebDAV"


@contextlib.contextmanager
def running(folder: Path) -> Iterator[str]:
    """Run one that keeps its files in the new folder; gives its address.

    Raises:
        BenchmarkError: it does not come up; has the end of its log.
    """
    (folder / "files").mkdir(parents=True)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    user = "user root;" if os.geteuid() == 0 else ""
    config = folder / "nginx.conf"
    config.write_text(_CONFIG.format(folder=folder, port=port, user=user))
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    assert program is not None
    process = subprocess.Popen([program, "-p", str(folder), "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        _wait(process, port, folder)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    end = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)  # it says nothing when it listens
    log = folder / "log"
    raise BenchmarkError(f"nginx did not start: {log.read_text()[-300:] if log.exists() else 'it said nothing'}")
