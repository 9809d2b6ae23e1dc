"""What the read API offers, for programs (OpenAPI 3.1) and for people: made from its table and the records."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any, Final, cast

from schemas.codec import json_schema
from sendtrace.web_api import ENDPOINTS, Endpoint
from sendtrace.web_html import document
from sendtrace.web_query import Parameter
from sinks.tables.pages import MOST_ITEMS

Json = dict[str, object]
_REFUSALS: Final = (
    ("400", "A parameter is wrong; the message names it and what was expected."),
    ("401", "[admin] token is set and was not sent."),
    ("403", "The request is for a name that is not this machine's."),
    ("503", "Tables or raw log cannot be read now."),
)
_HEALTH: Final = (
    ("/livez", "200 while the process answers."),
    ("/readyz", "200 if a postback could be kept now, else 503; the state of log, processor and lag."),
    ("/metrics", "Prometheus' text format."),
    ("/openapi.json", "This list for programs, OpenAPI 3.1."),
)


def openapi() -> Json:
    """The document; JSON Schemas are those of `schemas.records`."""
    components: Json = {"Error": _ERROR}
    paths = {endpoint.path: {"get": _operation(endpoint, components)} for endpoint in ENDPOINTS}
    return {
        "openapi": "3.1.0",
        "info": {"title": "sendtrace read API", "version": "1", "description": "What became of every message."},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "[admin] token, if set"}},
        },
        "security": [{}, {"token": []}],
    }


def docs() -> str:
    """The page."""
    parts = []
    for endpoint in ENDPOINTS:
        rows = "".join(
            f"<tr><td><code>{parameter.name}</code></td><td>{escape(parameter.about)}"
            f"{_words(parameter.words)}</td></tr>"
            for parameter in endpoint.parameters
        )
        table = f'<div class="wide"><table>{rows}</table></div>' if rows else ""
        parts.append(f"<h2>GET <code>{endpoint.path}</code></h2><p>{escape(endpoint.about)}</p>{table}")
    others = "".join(f"<tr><td><code>{path}</code></td><td>{escape(about)}</td></tr>" for path, about in _HEALTH)
    parts.append(f'<h2>Besides</h2><div class="wide"><table>{others}</table></div>')
    parts.append(
        '<p>An error is <code>{"error": {"code", "message"}}</code>. A list takes <code>limit</code> and'
        " <code>cursor</code> and answers <code>next_cursor</code>, which is null on the last page; a page may hold"
        " fewer items than asked for.</p>"
    )
    return document("read API", "".join(parts))


def _words(words: Iterable[str]) -> str:
    return "".join(f" <code>{word}</code>" for word in words)


def _operation(endpoint: Endpoint, components: Json) -> Json:
    names = [part[1:-1] for part in endpoint.path.split("/") if part.startswith("{")]
    path_parameters = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]
    refusals = [*_REFUSALS, *([("404", "There is none of this id.")] if names else [])]
    return {
        "summary": endpoint.about,
        "parameters": [*path_parameters, *map(_parameter, endpoint.parameters)],
        "responses": {
            "200": {"description": "The answer.", "content": _content(_answer_schema(endpoint, components))},
            **{code: {"description": text, "content": _content(_ref("Error"))} for code, text in sorted(refusals)},
        },
    }


def _parameter(parameter: Parameter) -> Json:
    schema: Json = {"type": "string", "minLength": 1}
    if parameter.words:
        schema = {"type": "string", "enum": list(parameter.words)}
    elif parameter.name == "limit":
        schema = {"type": "integer", "minimum": 1, "maximum": MOST_ITEMS}
    return {"name": parameter.name, "in": "query", "description": parameter.about, "schema": schema}


def _answer_schema(endpoint: Endpoint, components: Json) -> Json:
    item = _component(endpoint.record, components)
    if endpoint.list_name is None:
        return item
    fields: Json = {
        endpoint.list_name: {"type": "array", "items": item},
        "next_cursor": {"type": ["string", "null"]},
    }
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}


def _component(record: type, components: Json) -> Json:
    """Put a record and what it refers to among the components."""
    schema = cast(Json, _with_our_refs(json_schema(record)))
    components.update(cast(Json, schema.pop("$defs", {})))
    components[record.__name__] = schema
    return _ref(record.__name__)


def _with_our_refs(value: Any) -> Any:  # noqa: ANN401  any part of a JSON Schema
    if isinstance(value, dict):
        return {
            key: inner.replace("#/$defs/", "#/components/schemas/") if key == "$ref" else _with_our_refs(inner)
            for key, inner in value.items()
        }
    return [_with_our_refs(inner) for inner in value] if isinstance(value, list) else value


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _content(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


_ERROR: Final[Json] = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
            "required": ["code", "message"],
        }
    },
    "required": ["error"],
}
