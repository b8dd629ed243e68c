"""What goes wrong, to a person with a browser: a page; to a program: a problem document."""

from __future__ import annotations

import pytest
from scripted import PortGateway, refused

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/nothing", 404, "There is nothing at this address"),
        ("GET", "/owner/login", 405, "Method Not Allowed"),
        ("POST", "/owner/requeue", 401, "log in again"),
    ],
)
async def test_a_browser_gets_a_page_and_a_program_a_document(
    port_gateway: PortGateway, method: str, path: str, status: int, words: str
) -> None:
    """The page leads on, and may do nothing."""
    async with port_gateway.http(prefix="") as http:
        page = await http.request(method, path, headers=BROWSER)
        document = await http.request(method, path)

    assert (page.status_code, page.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert words in page.text
    assert 'href="/"' in page.text
    assert ('href="/owner"' in page.text) is path.startswith("/owner")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"
    refused(document, status)


async def test_the_api_speaks_json_to_browsers_too(port_gateway: PortGateway) -> None:
    """Nothing there is a page."""
    async with port_gateway.http(prefix="") as http:
        refused(await http.get("/api/v1/nothing", headers=BROWSER), 404)
        refused(await http.get("/api/v1/jobs", headers=BROWSER), 401)
