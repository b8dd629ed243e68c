"""Objects of a real S3 server: public ones unsigned, private ones with the operator's keys and no others."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import trio

from edgeagent.node.fetch import s3
from edgeagent.node.fetch.download import Wanted, download
from edgeagent.node.fetch.partial import Partial
from edgeagent.node.fetch.s3 import S3
from edgeagent.node.fetch.source import ChangedError, UnreachedError, UnusableError

DATA = os.urandom(20_000_000)
DIGEST = hashlib.sha256(DATA).hexdigest()
SERVER = """
from moto.moto_server.werkzeug_app import create_backend_app
from werkzeug.serving import make_server
server = make_server("127.0.0.1", 0, create_backend_app("s3"), threaded=True)
print(server.port, flush=True)
server.serve_forever()
"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server with an object that everybody may read, and one that only known users may."""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        url = f"http://127.0.0.1:{int(server.stdout.readline())}"
        for path, access in (("", "private"), ("/a%20dir/public", "public-read"), ("/private", "private")):
            content = DATA if path else b""
            httpx2.put(f"{url}/bucket{path}", content=content, headers={"x-amz-acl": access}).raise_for_status()
        yield url
    finally:
        server.terminate()
        server.stdout.close()
        server.wait(30)


async def fetch(store: S3, ref: str, path: Path) -> Partial:
    partial = Partial(path)
    wanted = Wanted(sha256=DIGEST, size_bytes=len(DATA), most_bytes=len(DATA))
    await download(store.at(ref), partial, wanted, rng=random.Random(), heard=lambda _: None)
    return partial


async def test_a_public_object_arrives(url, tmp_path, monkeypatch):
    """Unsigned, in several windows, whatever keys lie in this machine's environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "else's")

    partial = await fetch(S3(endpoint=url), "s3://bucket/a%20dir/public", tmp_path / "f")

    assert DATA == partial.read()
    assert len(DATA) > 2 * s3.WINDOW_BYTES


async def test_a_cut_download_is_gone_on_with(url, tmp_path):
    """From where it stood, if the object is still the same."""
    store = S3(endpoint=url)
    async with store.at("s3://bucket/a dir/public").open(0, None) as arriving:
        validator = arriving.validator

    async with store.at("s3://bucket/a dir/public").open(19_000_000, validator) as arriving:
        rest = [piece async for piece in arriving.pieces]
        assert (19_000_000, len(DATA)) == (arriving.offset, arriving.size_bytes)
    with pytest.raises(ChangedError):
        async with store.at("s3://bucket/a dir/public").open(19_000_000, '"another"'):
            pass

    assert DATA[19_000_000:] == b"".join(rest)


async def test_an_object_that_is_not_there_is_the_jobs_fault(url, tmp_path):
    """For everybody alike."""
    with pytest.raises(UnusableError, match="no such object in the bucket"):
        await fetch(S3(endpoint=url), "s3://bucket/other", tmp_path / "f")


async def test_a_private_object_needs_the_operators_keys(url, tmp_path, monkeypatch):
    """Those that he has set for this, and nothing else of his environment; without, another node may have some."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "his own")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "his own")

    with pytest.raises(UnreachedError, match="does not let this node read") as refused:
        await fetch(S3(endpoint=url), "s3://bucket/private", tmp_path / "f")
    keys = S3(endpoint=url, access_key_id="for jobs", secret_access_key="a secret")
    partial = await fetch(keys, "s3://bucket/private", tmp_path / "f")

    assert refused.value.lasting
    assert DATA == partial.read()
    assert "a secret" not in repr(keys)


async def test_a_server_that_is_not_there_is_nobodys_fault(tmp_path, monkeypatch):
    """It is asked again, and given up."""
    monkeypatch.setattr("edgeagent.node.fetch.download.GIVE_UP_S", 0.0)

    with trio.fail_after(60), pytest.raises(UnreachedError, match="S3: "):
        await fetch(S3(endpoint="http://127.0.0.1:9"), "s3://bucket/f", tmp_path / "f")


@pytest.mark.parametrize(
    "ref",
    [
        "s3://bucket",
        "s3://bucket/",
        "s3:///key",
        "s3://169.254.169.254:80/key",
        "s3://a@b/key",
        "s3://B/key",
        "s3://../x",
    ],
)
def test_what_names_no_object_is_refused(ref):
    """Before anybody is asked: a bucket's name leads to no other host."""
    with pytest.raises(UnusableError, match="is not s3://BUCKET/KEY"):
        S3().at(ref)
