"""The console over HTTP: the page at `/`, and the API that it reads, under `/api/v1`. All of it only reads.

The page's files hold no data: they are served to all who reach us. The API asks for a token, where there is one.
Without one, a server on loopback answers only to its own names: a page of somebody else could have its name lead here
(DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web
from pydantic import TypeAdapter

from streams.console import merge
from streams.console.merge import Pictures
from streams.console.models import Enis, Findings, Health, Overview, Ports, Problem, Talkers
from streams.sources.keys import AccessKeys

PREFIX = "/api/v1"
OPENAPI_PATH = f"{PREFIX}/openapi.json"
API_VERSION = "1.0.0"

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}

_MODULES = ("app", "chart", "dom", "findings", "format", "reach", "table", "vendor/uPlot/uPlot.esm")
_STYLES = ("style", "vendor/uPlot/uPlot.min")
FILES: Mapping[str, tuple[str, str]] = {
    "/": ("index.html", "text/html"),
    **{f"/console/{name}.js": (f"{name}.js", "text/javascript") for name in _MODULES},
    **{f"/console/{name}.css": (f"{name}.css", "text/css") for name in _STYLES},
    "/console/icon.svg": ("icon.svg", "image/svg+xml"),
    "/console/vendor/uPlot/LICENSE": ("vendor/uPlot/LICENSE", "text/plain"),
}
"""Path -> file below `static`, and what it is. Nothing else is served."""


@dataclass(frozen=True)
class Answer:
    """A route of the API. make: from the workers' pictures and the time, in epoch seconds."""

    path: str
    model: type[Any]
    make: Callable[[Pictures, float], object]
    summary: str


ANSWERS = (
    Answer("/overview", Overview, merge.overview, "Rates of all workers together, and which workers there are"),
    Answer("/enis", Enis, lambda pictures, _: merge.enis(pictures), "Network interfaces"),
    Answer("/ports", Ports, lambda pictures, _: merge.ports(pictures), "Service ports"),
    Answer("/talkers", Talkers, lambda pictures, _: merge.talkers(pictures), "Conversations of the last minute"),
    Answer("/findings", Findings, lambda pictures, _: merge.findings(pictures), "Open findings"),
    Answer("/health", Health, merge.health, "Lag, ages, dead letters, conservation"),
)


@dataclass(frozen=True)
class Access:
    """Who may ask. tokens: see AccessKeys. loopback: whether only this machine can reach us."""

    tokens: AccessKeys
    guarded: bool
    loopback: bool

    def refused(self, request: web.Request) -> web.Response | None:
        """The answer for who may not; None for who may."""
        if self.loopback and not self.guarded and not is_own_name(request.host):
            return _problem(403, "this console is on loopback: ask for localhost or an address")
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if self.guarded and not (scheme.lower() == "bearer" and self.tokens.accept(token.strip())):
            return _problem(401, "a token is needed", {"WWW-Authenticate": "Bearer"})
        return None


def access(token_file: Path | None, host: str) -> Access:
    """host: where we listen. Raises ValueError for a file without a token, or that can't be read."""
    return Access(AccessKeys(file=token_file, name="token_file"), token_file is not None, is_loopback(host))


def is_loopback(host: str) -> bool:
    """Whether an address to listen at is reached from this machine only."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def is_own_name(host: str) -> bool:
    """Whether a Host header is an address or `localhost`: a name of somebody else's is neither."""
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return name.lower() == "localhost"
    return True


def console_routes(
    pictures: Callable[[float], Pictures], allowed: Access, clock: Callable[[], float] = time.time
) -> list[web.RouteDef]:
    """Page and API. pictures: of the workers that are there at a time. clock: epoch seconds."""

    def answering(one: Answer) -> web.RouteDef:
        async def handle(request: web.Request) -> web.Response:
            now = clock()
            return allowed.refused(request) or _json(one.make(pictures(now), now))

        return web.get(PREFIX + one.path, handle)

    async def described(request: web.Request) -> web.Response:
        return allowed.refused(request) or _json(openapi())

    async def unknown(_: web.Request) -> web.Response:
        return _problem(404, f"there is no such thing here; {OPENAPI_PATH} says what there is")

    pages = [web.get(path, _page(*file)) for path, file in FILES.items()]
    api = [answering(one) for one in ANSWERS]
    return [*pages, *api, web.get(OPENAPI_PATH, described), web.get("/api/{rest:.*}", unknown)]


def elsewhere_routes(sentence: str) -> list[web.RouteDef]:
    """`/` of a process that has no console. sentence: where to look."""

    async def handle(_: web.Request) -> web.Response:
        return web.Response(text=f"{sentence}\n", status=404, headers=HEADERS)

    return [web.get("/", handle)]


def _page(name: str, kind: str) -> Callable[[web.Request], Any]:
    content = files("streams.console").joinpath("static", name).read_bytes()

    async def handle(_: web.Request) -> web.Response:
        headers = {**HEADERS, "Cache-Control": "no-cache"}
        return web.Response(body=content, content_type=kind, charset="utf-8", headers=headers)

    return handle


def _json(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Times and counts of the moment: nobody keeps them."""
    every = {**HEADERS, "Cache-Control": "no-store", **(headers or {})}
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json", headers=every)


def _problem(status: int, error: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return _json(Problem(error), status, headers)


@cache
def openapi() -> dict[str, Any]:
    """The API, described by OpenAPI 3.1: schemas are made of the models, sentences are their docstrings."""
    models = [one.model for one in ANSWERS] + [Problem]
    wanted = [(model.__name__, "serialization", TypeAdapter(model)) for model in models]
    found, definitions = TypeAdapter.json_schemas(wanted, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]  # tuples of one kind of model each
    refusals = {
        "401": _response("No token, or not a valid one.", found["Problem", "serialization"]),
        "403": _response("Asked for by a name that is not ours.", found["Problem", "serialization"]),
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "vpcflow console",
            "version": API_VERSION,
            "summary": "What all workers see at the moment. It only reads.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {
            PREFIX + one.path: {
                "get": {
                    "operationId": one.model.__name__.lower(),
                    "summary": one.summary,
                    "responses": {
                        "200": _response(str(one.model.__doc__), found[one.model.__name__, "serialization"]),
                        **refusals,
                    },
                }
            }
            for one in ANSWERS
        },
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}, {}],
    }


def _response(description: str, schema: object) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}
