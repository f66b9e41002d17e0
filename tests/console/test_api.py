"""The console's API: as its description says, behind its token, with its headers, and only to read."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from streams.console.api import ANSWERS, FILES, HEADERS, OPENAPI_PATH, PREFIX, access, console_routes, openapi
from streams.console.models import Picture
from streams.core.watching import Figures
from tests.console.snapshots import finding, snapshot, talked
from tests.console.test_picture import looks

STATIC = Path(__file__).parents[2] / "streams/console/static"
PATHS = [PREFIX + one.path for one in ANSWERS]
NOW = 2000.0

Client = TestClient[web.Request, web.Application]


def full() -> Picture:
    """A worker with something everywhere."""
    found = Figures(findings=[finding()], talkers=talked(60, ("a", 5)))
    one = looks(snapshot(), snapshot({"eni-1": (5, 3, 1)}, {(443, 6): (5, 3, 1)}, lines=3, watched=found))[-1]
    return replace(one, epoch=NOW, checkpoints={"roll": 1999.0})


@asynccontextmanager
async def served(*pictures: Picture, token_file: Path | None = None, host: str = "127.0.0.1") -> AsyncIterator[Client]:
    app = web.Application()
    app.add_routes(console_routes(lambda _: pictures, access(token_file, host), lambda: NOW))
    async with TestClient(TestServer(app, host="127.0.0.1")) as client:
        yield client


def told(answer: ClientResponse) -> dict[str, str]:
    return {name: answer.headers[name] for name in HEADERS}


def test_the_description_is_openapi() -> None:
    validate(openapi())


def test_every_model_and_route_says_what_it_is() -> None:
    described = openapi()

    assert all(schema.get("description") for schema in described["components"]["schemas"].values())
    assert set(described["paths"]) == set(PATHS)


@pytest.mark.parametrize("pictures", [(), (full(),)], ids=["nobody", "one worker"])
@pytest.mark.parametrize("path", PATHS)
async def test_every_answer_is_as_its_schema_says(path: str, pictures: tuple[Picture, ...]) -> None:
    async with served(*pictures) as client:
        answer = await client.get(path)
        body = await answer.json()
        described = await (await client.get(OPENAPI_PATH)).json()

    schema = described["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    Draft202012Validator({**schema, "components": closed(described["components"])}).validate(body)
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    assert told(answer) == HEADERS


def closed(components: dict[str, Any]) -> dict[str, Any]:
    """Schemas that allow no field that they do not name."""
    schemas = {name: {"additionalProperties": False, **one} for name, one in components["schemas"].items()}
    return {**components, "schemas": schemas}


@pytest.mark.parametrize("path", [*PATHS, OPENAPI_PATH])
@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        ("Bearer sesame", 200), ("bearer sesame", 200), ("Bearer second", 200), ("Bearer wrong", 401),
        ("Bearer ", 401), ("Bearer", 401), ("sesame", 401), ("Basic sesame", 401), ("", 401),
    ],
)  # fmt: skip
async def test_with_a_token_file_the_api_asks_for_one_of_its_tokens(
    path: str, authorization: str, status: int, tmp_path: Path
) -> None:
    file = tmp_path / "tokens"
    file.write_text("sesame\nsecond\n")

    async with served(full(), token_file=file) as client:
        answer = await client.get(path, headers={"Authorization": authorization})
        body = await answer.text()

    assert answer.status == status
    assert told(answer) == HEADERS
    if status != 200:
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert json.loads(body) == {"error": "a token is needed"}


async def test_the_page_itself_is_there_without_a_token_and_holds_no_data(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("sesame\n")

    async with served(full(), token_file=file) as client:
        answers = {path: await client.get(path) for path in FILES}

    assert {answer.status for answer in answers.values()} == {200}
    assert all(told(answer) == HEADERS for answer in answers.values())


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_a_token_file_without_a_token_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(text)

    with pytest.raises(ValueError, match="token_file: expected a file with"):
        access(file, "127.0.0.1")


@pytest.mark.parametrize(
    ("listens", "asked", "status"),
    [
        ("127.0.0.1", "localhost:8080", 200), ("127.0.0.1", "127.0.0.1", 200), ("[::1]", "[::1]:8080", 200),
        ("127.0.0.1", "evil.example:8080", 403), ("localhost", "evil.example", 403), ("127.0.0.1", "", 403),
        ("0.0.0.0", "worker.example:8080", 200),
    ],
)  # fmt: skip
async def test_on_loopback_it_answers_to_its_own_names_only(listens: str, asked: str, status: int) -> None:
    async with served(full(), host=listens) as client:
        answer = await client.get(PATHS[0], headers={"Host": asked})

    assert answer.status == status


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_it_only_reads(method: str) -> None:
    async with served(full()) as client:
        answers = [await client.request(method, path) for path in (*PATHS, *FILES)]

    assert {answer.status for answer in answers} == {405}


@pytest.mark.parametrize(
    "path", ["/api/v1/secrets", "/api/v2/overview", "/console/../api.py", "/console/%2e%2e/api.py", "/console/x"]
)
async def test_nothing_else_is_served(path: str) -> None:
    async with served(full()) as client:
        answer = await client.get(path)

    assert answer.status == 404


def test_the_page_has_no_script_or_style_of_its_own_and_never_reads_text_as_html() -> None:
    page = (STATIC / "index.html").read_text("utf-8")
    own = [path.read_text("utf-8") for path in STATIC.glob("*.js")]

    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=|https?://", page) == []
    assert len(own) > 5
    assert [
        text for text in own if re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)
    ] == []


def test_every_file_of_the_page_is_served_and_every_served_file_is_there() -> None:
    kept = {str(path.relative_to(STATIC)) for path in STATIC.rglob("*") if path.is_file()}

    assert {name for name, _ in FILES.values()} == kept - {"vendor/uPlot/package.json"}


def test_the_chart_library_is_there_with_its_licence_and_version() -> None:
    folder = STATIC / "vendor/uPlot"
    package = json.loads((folder / "package.json").read_text("utf-8"))

    assert (package["name"], package["license"]) == ("uplot", "MIT")
    assert "Permission is hereby granted" in (folder / "LICENSE").read_text("utf-8")
