"""Uploads over real HTTP, as tus 1.0 has them."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx2
import pytest
import trio
from scripted import DIGEST, FILE, PortGateway, refused, submit, tus

OFFSET_TYPE = {"Content-Type": "application/offset+octet-stream"}
VERSION = {"Tus-Resumable": "1.0.0"}
GOOD = tus(len(FILE), sha256=DIGEST, filename="scene.json")
HALF = len(FILE) // 2


def piece(offset: int, **more: str) -> dict[str, str]:
    """Return the headers of a piece."""
    return {**VERSION, **OFFSET_TYPE, "Upload-Offset": str(offset), **more}


def checksum(data: bytes, algorithm: str = "sha256") -> dict[str, str]:
    """Return the header that says what a piece hashes to."""
    digest = hashlib.new(algorithm, data, usedforsecurity=False).digest()
    return {"Upload-Checksum": f"{algorithm} {b64encode(digest).decode()}"}


async def begun(http: httpx2.AsyncClient, **headers: str) -> str:
    """Begin an upload of FILE and return where it is."""
    answer = await http.post("/uploads", headers={**GOOD, **headers})
    assert (answer.status_code, answer.headers["upload-offset"]) == (201, "0"), answer.text
    return answer.headers["location"].removeprefix("/api/v1")


async def stands(http: httpx2.AsyncClient, where: str) -> int:
    """Return the offset at which an upload stands."""
    answer = await http.head(where, headers=VERSION)
    assert answer.status_code == 200
    return int(answer.headers["upload-offset"])


@pytest.fixture
async def half(submitter: httpx2.AsyncClient) -> str:
    """An upload of which a half is there."""
    where = await begun(submitter)
    answer = await submitter.patch(where, headers=piece(0), content=FILE[:HALF])
    assert (answer.status_code, answer.headers["upload-offset"]) == (204, str(HALF))
    return where


async def test_a_file_comes_in_pieces_and_is_there(submitter: httpx2.AsyncClient, half: str) -> None:
    """Each answer says how far it is and until when it is kept; then it can be listed and fetched."""
    looked = await submitter.head(half, headers=VERSION)
    assert looked.headers["upload-length"] == str(len(FILE))
    assert looked.headers["upload-metadata"] == GOOD["Upload-Metadata"]
    assert looked.headers["cache-control"] == "no-store"
    assert looked.headers["upload-expires"].endswith("GMT")
    (listed,) = (await submitter.get("/uploads")).json()["uploads"]
    assert (listed["location"], listed["offset_bytes"], listed["active"]) == (f"/api/v1{half}", HALF, False)

    last = await submitter.patch(half, headers=piece(HALF), content=FILE[HALF:])

    assert (last.status_code, last.headers["upload-offset"], "upload-expires" in last.headers) == (
        204,
        str(len(FILE)),
        False,
    )
    (there,) = (await submitter.get("/files")).json()["files"]
    assert (there["sha256"], there["name"], there["size_bytes"]) == (DIGEST, "scene.json", len(FILE))
    assert (await submitter.get(f"/files/{DIGEST}")).content == FILE
    assert (await submitter.get("/uploads")).json() == {"uploads": []}
    assert await stands(submitter, half) == len(FILE)
    assert (await submitter.patch(half, headers=piece(len(FILE)))).status_code == 204
    account = (await submitter.get("/account")).json()
    assert (account["stored_bytes"], account["quota_bytes"]) == (len(FILE), 10 << 30)


#: What is sent to the collection: the headers in place of GOOD's, the body, and the answer.
CREATIONS: list[tuple[Mapping[str, str | None], bytes, int, str]] = [
    ({"Tus-Resumable": None}, b"", 412, "Tus-Resumable"),
    ({"Tus-Resumable": "0.2.2"}, b"", 412, "1.0.0"),
    ({"Upload-Length": None}, b"", 400, "Upload-Length"),
    ({"Upload-Length": "-1"}, b"", 400, "Upload-Length"),
    ({"Upload-Length": "１"}, b"", 400, "Upload-Length"),
    ({"Upload-Length": "1e3"}, b"", 400, "Upload-Length"),
    ({"Upload-Length": str((1 << 40) + 1)}, b"", 413, "at most"),
    ({"Upload-Length": str((10 << 30) + 1)}, b"", 413, "quota"),
    ({"Upload-Metadata": None}, b"", 422, "sha256"),
    ({"Upload-Metadata": "sha256 " + b64encode(b"../../etc/passwd").decode()}, b"", 422, "sha256"),
    ({"Upload-Metadata": "sha256 %%%"}, b"", 400, "BASE64"),
    ({"Upload-Metadata": ",".join(["sha256 " + b64encode(DIGEST.encode()).decode()] * 2)}, b"", 400, "once"),
    ({"Upload-Metadata": "a /w=="}, b"", 400, "UTF-8"),
    ({"Upload-Metadata": "x " + "A" * 5000}, b"", 400, "at most"),
    (OFFSET_TYPE, b"too much" + FILE, 413, "Upload-Length"),
    ({"Content-Type": "text/plain"}, FILE, 415, "offset+octet-stream"),
    ({**OFFSET_TYPE, "Upload-Checksum": "md5 AAAA"}, FILE, 400, "sha256, sha1"),
    ({**OFFSET_TYPE, "Upload-Checksum": "sha256 AAAA"}, FILE, 400, "no digest"),
    ({**OFFSET_TYPE, **checksum(b"other")}, FILE, 460, "Upload-Checksum"),
]


async def test_what_cannot_begin_is_refused(submitter: httpx2.AsyncClient) -> None:
    """Each with the status of the standard, and a line that names the header."""
    for changed, body, status, word in CREATIONS:
        headers = {name: value for name, value in {**GOOD, **changed}.items() if value is not None}
        raw = {name: value.encode() for name, value in headers.items()}
        answer = await submitter.post("/uploads", headers=raw, content=body)  # type: ignore[arg-type]
        refused(answer, status, word)
        assert answer.headers["tus-resumable"] == "1.0.0"
        assert ("tus-version" in answer.headers) is (status == 412)


async def test_a_piece_that_does_not_fit_changes_nothing(submitter: httpx2.AsyncClient, half: str) -> None:
    """Neither a wrong offset, nor a wrong checksum, nor too much, nor another type."""
    rest = FILE[HALF:]
    for headers, body, status, word in (
        (piece(HALF - 1), rest, 409, str(HALF)),
        (piece(len(FILE)), b"", 409, str(HALF)),
        (piece(HALF + 1), rest, 409, str(HALF)),
        (piece(HALF, **checksum(b"other")), rest, 460, "again"),
        (piece(HALF, **checksum(b"other", "sha1")), rest[:10], 460, "again"),
        (piece(HALF), rest + b"x", 413, "Upload-Length"),
        (piece(HALF) | {"Content-Type": "application/octet-stream"}, rest, 415, "offset+octet-stream"),
        (piece(HALF) | {"Upload-Offset": "half"}, rest, 400, "Upload-Offset"),
        (piece(HALF) | {"Tus-Resumable": "2"}, rest, 412, "1.0.0"),
    ):
        refused(await submitter.patch(half, headers=headers, content=body), status, word)
        assert await stands(submitter, half) == HALF

    done = await submitter.patch(half, headers=piece(HALF, **checksum(rest, "sha1")), content=rest)
    assert done.status_code == 204
    assert (await submitter.get(f"/files/{DIGEST}")).content == FILE


async def test_a_body_without_a_length_is_taken_as_far_as_it_may_go(submitter: httpx2.AsyncClient) -> None:
    """Chunked, it is counted as it comes."""

    async def pieces(more: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(FILE), 10_000):
            yield FILE[start : start + 10_000]
        yield more

    where = await begun(submitter)
    refused(await submitter.patch(where, headers=piece(0), content=pieces(b"x")), 413, "announced")
    rest = FILE[await stands(submitter, where) :]
    assert (await submitter.patch(where, headers=piece(len(FILE) - len(rest)), content=rest)).status_code == 204


async def test_a_file_in_one_request(submitter: httpx2.AsyncClient) -> None:
    """A beginning may bring the file along, or a piece of it."""
    answer = await submitter.post("/uploads", headers=GOOD | OFFSET_TYPE | checksum(FILE), content=FILE)
    assert (answer.status_code, answer.headers["upload-offset"]) == (201, str(len(FILE)))
    other = hashlib.sha256(FILE + FILE).hexdigest()
    headers = tus(2 * len(FILE), sha256=other) | OFFSET_TYPE
    assert (await submitter.post("/uploads", headers=headers, content=FILE)).headers["upload-offset"] == str(len(FILE))


async def test_an_empty_file_is_there_at_once(submitter: httpx2.AsyncClient) -> None:
    """It has nothing that could still come."""
    empty = hashlib.sha256(b"").hexdigest()
    answer = await submitter.post("/uploads", headers=tus(0, sha256=empty))
    assert (answer.status_code, answer.headers["upload-offset"]) == (201, "0")
    assert (await submitter.get(f"/files/{empty}")).content == b""


async def test_another_file_than_announced_is_refused(submitter: httpx2.AsyncClient) -> None:
    """Its upload is gone then, and so is what came."""
    where = await begun(submitter)
    refused(await submitter.patch(where, headers=piece(0), content=bytes(len(FILE))), 422, "not the sha256 announced")
    assert (await submitter.head(where, headers=VERSION)).status_code == 404
    refused(await submitter.get(f"/files/{DIGEST}"), 404)


async def test_a_known_file_needs_no_second_upload(port_gateway: PortGateway, submitter: httpx2.AsyncClient) -> None:
    """Of the account that has it; another account must send it, or the answer would tell who has what."""
    await submitter.post("/uploads", headers=GOOD | OFFSET_TYPE, content=FILE)
    again = await submitter.post("/uploads", headers=GOOD)
    assert again.headers["upload-offset"] == str(len(FILE))
    refused(await submitter.post("/uploads", headers=tus(1, sha256=DIGEST)), 422, "another size")
    async with port_gateway.http(await port_gateway.account("others")) as others:
        assert (await others.post("/uploads", headers=GOOD)).headers["upload-offset"] == "0"
        refused(await others.get(f"/files/{DIGEST}"), 404)


async def test_what_is_anothers_is_not_there(
    port_gateway: PortGateway, submitter: httpx2.AsyncClient, half: str
) -> None:
    """Neither uploads nor files, for reading, writing or deleting, nor for jobs; nor what only looks like an id."""
    await submitter.post("/uploads", headers=GOOD | OFFSET_TYPE, content=FILE)
    operator = await port_gateway.enlist()
    attempt = "/attempts/00000000-0000-4000-8000-000000000000"
    async with (
        port_gateway.http(await port_gateway.account("others")) as others,
        port_gateway.http(operator.token) as node,
    ):
        for where in (half, "/uploads/..", "/uploads/%2e%2e%2fgateway.db", "/uploads/x' OR '1'='1"):
            assert (await others.head(where, headers=VERSION)).status_code == 404
            refused(await others.patch(where, headers=piece(HALF), content=b"x"), 404)
            refused(await others.delete(where, headers=VERSION), 404)
        refused(await others.delete(f"/files/{DIGEST}"), 404)
        refused(await others.get(f"/files/{DIGEST}"), 404)
        refused(await others.post("/jobs", json={"job_type": "render", "payload_ref": f"sha256:{DIGEST}"}), 422)
        for call in (node.head, node.patch, node.delete):
            where = attempt + half
            assert (await call(where, headers=piece(HALF))).status_code == 404
        refused(await node.get(f"{attempt}/payload"), 404)
        refused(await node.post(f"{attempt}/uploads", headers=tus(1, name="a", sha256=DIGEST)), 404)
        refused(await node.get(f"/files/{DIGEST}"), 401)
    assert await stands(submitter, half) == HALF


async def test_an_upload_can_be_given_up(submitter: httpx2.AsyncClient, half: str) -> None:
    """Then it is not there any more, and counts no more."""
    assert (await submitter.delete(half, headers=VERSION)).status_code == 204
    assert (await submitter.head(half, headers=VERSION)).status_code == 404
    assert (await submitter.get("/account")).json()["stored_bytes"] == 0


async def test_what_is_let_go_of_frees_the_disk_at_once(
    port_gateway: PortGateway, submitter: httpx2.AsyncClient
) -> None:
    """Not at the next sweep: its room is free for the account's next upload."""
    await submitter.post("/uploads", headers=GOOD | OFFSET_TYPE, content=FILE)
    kept = port_gateway.data_dir / "blobs" / "sha256" / DIGEST[:2] / DIGEST
    assert kept.exists()
    assert (await submitter.delete(f"/files/{DIGEST}")).status_code == 204
    assert not kept.exists()
    refused(await submitter.delete(f"/files/{DIGEST}"), 404)


async def test_options_say_what_there_is_without_a_token(anyone: httpx2.AsyncClient) -> None:
    """The version, the extensions, the largest file and what checksums may be."""
    for path in ("/uploads", "/uploads/any", "/attempts/any/uploads", "/attempts/any/uploads/any"):
        answer = await anyone.options(path)
        assert answer.status_code == 204
        assert answer.headers["tus-version"] == "1.0.0"
        extensions = set(answer.headers["tus-extension"].split(","))
        assert extensions == {"creation", "creation-with-upload", "checksum", "expiration", "termination"}
        assert answer.headers["tus-checksum-algorithm"] == "sha256,sha1"
        assert answer.headers["tus-max-size"] == str(1 << 40)


async def test_a_newer_request_ends_an_older_one(port_gateway: PortGateway, submitter: httpx2.AsyncClient) -> None:
    """Whose connection is most likely dead; what it has sent is not lost."""
    large = FILE * 10
    answer = await submitter.post("/uploads", headers=tus(len(large), sha256=hashlib.sha256(large).hexdigest()))
    where = answer.headers["location"].removeprefix("/api/v1")
    part = port_gateway.data_dir / "blobs" / "parts" / where.rpartition("/")[2]
    looked, answers = trio.Event(), list[httpx2.Response]()

    async def slowly() -> AsyncIterator[bytes]:
        yield large[: 2 * len(FILE) * 4]
        await looked.wait()
        yield large[2 * len(FILE) * 4 :]

    async def send() -> None:
        answers.append(await submitter.patch(where, headers=piece(0), content=slowly()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        while not (part.exists() and part.stat().st_size):  # noqa: ASYNC110 -- nobody tells when it has come
            await trio.sleep(0.01)
        (active,) = (await submitter.get("/uploads")).json()["uploads"]
        offset = await stands(submitter, where)
        looked.set()

    assert active["active"]
    refused(answers[0], 409, "newer")
    assert 0 < offset < len(large)
    done = await submitter.patch(where, headers=piece(offset), content=large[offset:])
    assert (done.status_code, done.headers["upload-offset"]) == (204, str(len(large)))


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_a_post_may_stand_for_another_method(submitter: httpx2.AsyncClient, half: str, method: str) -> None:
    """As the standard has it, for clients behind something that lets nothing else through."""
    headers = piece(HALF) | {"X-HTTP-Method-Override": method}
    answer = await submitter.post(half, headers=headers, content=FILE[HALF:])
    assert answer.status_code == 204
    there = await submitter.get(f"/files/{DIGEST}")
    assert there.status_code == (200 if method == "PATCH" else 404)


RANGES: list[tuple[dict[str, str], int, str, bytes]] = [
    ({}, 200, "", FILE),
    ({"Range": "bytes=0-0"}, 206, f"bytes 0-0/{len(FILE)}", FILE[:1]),
    ({"Range": "bytes=100-"}, 206, f"bytes 100-{len(FILE) - 1}/{len(FILE)}", FILE[100:]),
    ({"Range": "bytes=-7"}, 206, f"bytes {len(FILE) - 7}-{len(FILE) - 1}/{len(FILE)}", FILE[-7:]),
    ({"Range": "bytes=5-4"}, 200, "", FILE),
    ({"Range": "bytes=0-1,5-6"}, 200, "", FILE),
    ({"Range": "lines=0-1"}, 200, "", FILE),
    ({"Range": f"bytes={len(FILE)}-"}, 416, f"bytes */{len(FILE)}", b""),
    ({"Range": "bytes=9-9", "If-Range": f'"{DIGEST}"'}, 206, f"bytes 9-9/{len(FILE)}", FILE[9:10]),
    ({"Range": "bytes=9-9", "If-Range": '"another"'}, 200, "", FILE),
]


async def test_a_file_is_sent_in_ranges(submitter: httpx2.AsyncClient) -> None:
    """One range, as it was asked for; what cannot be understood gets the whole file."""
    await submitter.post("/uploads", headers=GOOD | OFFSET_TYPE, content=FILE)
    for headers, status, content_range, content in RANGES:
        answer = await submitter.get(f"/files/{DIGEST}", headers=headers)
        assert (answer.status_code, answer.headers.get("content-range", "")) == (status, content_range), headers
        if status != 416:
            assert answer.content == content
            assert answer.headers["etag"] == f'"{DIGEST}"'
    looked = await submitter.head(f"/files/{DIGEST}")
    assert looked.status_code == 200, looked.headers
    assert (looked.headers["content-length"], looked.headers["accept-ranges"]) == (str(len(FILE)), "bytes")


async def test_a_node_fetches_the_files_of_attempts_it_holds(
    port_gateway: PortGateway, submitter: httpx2.AsyncClient
) -> None:
    """By the names of the inputs, in ranges; not of a job that has ended, not another node, not what lies elsewhere."""
    await submitter.post("/uploads", headers=GOOD | OFFSET_TYPE, content=FILE)
    elsewhere = {"ref": "https://example.org/x", "sha256": DIGEST, "size_bytes": 1}
    operator, thief = await port_gateway.enlist(), await port_gateway.enlist("thief")
    asked: dict[str, Any] = {
        "payload_ref": f"sha256:{DIGEST}",
        "inputs": {"scene file": {"ref": f"sha256:{DIGEST}"}, "far": elsewhere},
    }
    async with port_gateway.as_node(operator) as node:
        await node.ready(fetches=("blob", "https"))
        job = await submit(submitter, **asked)
        attempt_id = (await node.accept()).attempt_id
        async with port_gateway.http(operator.token) as http, port_gateway.http(thief.token) as other:
            path = f"/attempts/{attempt_id}"
            assert (await http.get(f"{path}/inputs/scene%20file")).content == FILE
            part = await http.get(f"{path}/payload", headers={"Range": "bytes=10-19"})
            assert (part.status_code, part.content) == (206, FILE[10:20])
            for name in ("far", "nothing", "..", "scene"):
                assert (await http.get(f"{path}/inputs/{name}")).status_code == 404
            refused(await other.get(f"{path}/inputs/scene%20file"), 404)
            refused(await other.get(f"{path}/payload"), 404)
            assert (await submitter.delete(f"/files/{DIGEST}")).status_code == 204
            refused(await submitter.get(f"/files/{DIGEST}"), 404)
            assert (await http.get(f"{path}/payload")).content == FILE
            assert (await submitter.get("/account")).json()["stored_bytes"] == len(FILE)
            await submitter.post(f"/jobs/{job['job_id']}/cancel")
            refused(await http.get(f"{path}/payload"), 404)
