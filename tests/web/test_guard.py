import asyncio
import base64

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from audio_lm.web import guard
from audio_lm.web.guard import LOOPBACK_NAMES, Guard


async def echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


def request(method="GET", *, headers=None, content=None, base="http://127.0.0.1:7860", **options):
    """Response of a guarded application."""
    app = Guard(Starlette(routes=[Route("/", echo, methods=["GET", "POST"])]), max_body_bytes=100, **options)

    async def send():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=base) as client:
            return await client.request(method, "/", headers=headers, content=content)

    return asyncio.run(send())


def basic(text):
    return {"authorization": f"Basic {base64.b64encode(text.encode()).decode()}"}


@pytest.fixture
def no_wait(monkeypatch):
    monkeypatch.setattr(guard, "SECONDS_AFTER_WRONG_PASSWORD", 0.0)


def test_headers_forbid_other_hosts_and_frames():
    policy = request().headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "http" not in policy
    assert request().headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        (basic("any:right password"), 200),
        (basic(":right password"), 200),
        (basic("right password"), 401),
        (basic("any:wrong"), 401),
        (basic("any:right passwordx"), 401),
        ({"authorization": "Basic ???"}, 401),
        ({"authorization": "Bearer right password"}, 401),
    ],
)
def test_the_password_is_needed(headers, status, no_wait):
    response = request(headers=headers, password="right password")
    assert response.status_code == status
    assert response.headers.get("www-authenticate", "").startswith("Basic") == (status == 401)
    assert "right password" not in response.text


def test_a_wrong_password_costs_time(monkeypatch):
    monkeypatch.setattr(guard, "SECONDS_AFTER_WRONG_PASSWORD", 0.3)
    response, first = (
        request(headers=basic("a:b"), password="right password"),
        request(password="right password"),
    )
    assert response.elapsed.total_seconds() > 0.29 > first.elapsed.total_seconds()


@pytest.mark.parametrize(
    ("base", "status"),
    [
        ("http://127.0.0.1:7860", 200),
        ("http://localhost:1", 200),
        ("http://[::1]:7860", 200),
        ("http://attacker.example:7860", 403),
        ("http://127.0.0.1.attacker.example", 403),
    ],
)
def test_loopback_is_read_by_its_own_names_only(base, status):
    assert request(base=base, host_names=LOOPBACK_NAMES).status_code == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:7860", 200),
        ("http://attacker.example", 403),
        ("null", 403),
        ("http://127.0.0.1:80", 403),
    ],
)
def test_other_sites_are_not_answered(origin, status):
    assert request("POST", headers={"origin": origin}).status_code == status


def test_a_large_body_is_refused_whether_or_not_its_length_is_stated():
    async def chunks():
        for _ in range(20):
            yield b"x" * 10

    assert request("POST", content=b"x" * 100).text == "100"
    assert request("POST", content=b"x" * 101).status_code == 413
    assert request("POST", content=chunks()).status_code == 413
    assert request("POST", headers={"content-length": "many"}).status_code == 413
