"""Sends and fetches files by curl, which costs the server's machine less than any client in Python."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from base64 import b64encode
from pathlib import Path
from typing import Any

from benchmarks.harness import BenchmarkError

_TUS = "Tus-Resumable: 1.0.0"
_CURL = ("curl", "--silent", "--show-error", "--fail", "--max-time", "600", "--header", "Expect:")


def missing() -> str | None:
    """Return why there is no curl here, if so."""
    return None if shutil.which("curl") else "curl is not installed"


def resumable(url: str, token: str, path: Path, sha256: str) -> float:
    """Upload a file as the gateway has it; return seconds until it is stored and its digest was found right."""
    metadata = f"sha256 {_base64(sha256)},filename {_base64(path.name)}"
    headers = [_TUS, f"Upload-Length: {path.stat().st_size}", f"Upload-Metadata: {metadata}", _bearer(token)]
    started = time.perf_counter()
    head = _run("--dump-header", "-", "--request", "POST", *_headers(headers), f"{url}/api/v1/uploads")
    (where,) = [line.partition(":")[2].strip() for line in head.splitlines() if line.lower().startswith("location:")]
    piece = [_TUS, "Upload-Offset: 0", "Content-Type: application/offset+octet-stream", _bearer(token)]
    _run("--request", "PATCH", "--upload-file", str(path), *_headers(piece), url + where)
    return time.perf_counter() - started


def put(url: str, path: Path) -> float:
    """Upload a file in one plain request; return the seconds that took."""
    started = time.perf_counter()
    _run("--upload-file", str(path), url)
    return time.perf_counter() - started


def get(url: str, token: str | None = None) -> float:
    """Fetch a file and forget it; return the seconds that took."""
    started = time.perf_counter()
    _run("--output", "/dev/null", *_headers([_bearer(token)] if token else []), url)
    return time.perf_counter() - started


def listed(url: str, token: str) -> list[dict[str, Any]]:
    """Return what the gateway says of the account's files."""
    answer: dict[str, list[dict[str, Any]]] = json.loads(_run(*_headers([_bearer(token)]), f"{url}/api/v1/files"))
    return answer["files"]


def _bearer(token: str) -> str:
    return f"Authorization: Bearer {token}"


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()


def _headers(lines: list[str]) -> list[str]:
    return [word for line in lines for word in ("--header", line)]


def _run(*arguments: str) -> str:
    done = subprocess.run([*_CURL, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchmarkError(f"curl ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    return done.stdout
