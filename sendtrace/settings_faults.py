"""From pydantic's errors to lines for people: which file or variable, which key, what was given, what to do.

What is expected is the `description` of the field, so that each is said once. A secret, or a value
whose key is not known (it may be a misspelt secret), is never quoted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Final, NamedTuple, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

Table = dict[str, object]
Keys = tuple[str, ...]

_MOST_SHOWN: Final = 60
_OURS: Final = "value_error"  # a `ValueError` of a validator of ours
_UNKNOWN_KEY: Final = frozenset({"extra_forbidden", "unexpected_keyword_argument"})


class Layers(NamedTuple):
    """The three places a value may come from, each a nested table, the strongest first.

    `variables` names the variable of a key where it is not `SENDTRACE_TABLE__KEY`.
    """

    overrides: Table
    environment: Table
    file: Table
    path: Path | None
    variables: Mapping[Keys, str]

    def merged(self) -> Table:
        """One table in which the stronger layer's values stand."""
        return _merge(_merge(self.file, self.environment), self.overrides)

    def origin(self, keys: Keys) -> str:
        """Where the value of `keys` was written, as a person would name it."""
        if _holds(self.overrides, keys):
            return "command line"
        if _holds(self.environment, keys) or self.path is None:
            return self.variables.get(keys, "SENDTRACE_" + "__".join(keys).upper())
        return str(self.path)


class _Place(NamedTuple):
    """A key of the model: what belongs there, what holds without it, and what may stand beside it."""

    known: bool
    is_table: bool
    expected: str
    default: object
    secret: bool
    names: tuple[str, ...]


class _Fault(NamedTuple):
    """One finding of pydantic: where, of which kind, what stood there, and the words of our own check if it was one."""

    loc: tuple[int | str, ...]
    kind: str
    value: object
    why: str

    @property
    def is_item(self) -> bool:
        """Whether it is about one entry of a list."""
        return bool(self.loc) and isinstance(self.loc[-1], int)


_NOWHERE: Final = _Place(known=False, is_table=False, expected="", default=None, secret=True, names=())


def faults_of(error: ValidationError, model: type[BaseModel], layers: Layers) -> list[str]:
    """One line for each thing that is wrong, in the order of the model."""
    found = [
        _Fault(each["loc"], each["type"], each["input"], str(each["ctx"]["error"]) if each["type"] == _OURS else "")
        for each in error.errors()
    ]
    # An item that is refused makes its list too short as well: one fault, not two.
    items = {_keys(fault.loc) for fault in found if fault.is_item}
    told = (fault for fault in found if fault.is_item or _keys(fault.loc) not in items)
    return list(dict.fromkeys(_line(fault, model, layers) for fault in told))


def booleans(model: type[BaseModel], layers: Layers) -> list[str]:
    """Lines for `true` and `false`: no setting is one, and Python would take them for 1 and 0."""
    found = (keys for keys, value in _leaves(layers.merged()) if isinstance(value, bool))
    return [_wrong_value(keys, keys, _value_at(layers, keys), "", model, layers) for keys in found]


def unknown_word(word: str, known: Iterable[str]) -> str:
    """`did you mean x?`, or all there are when none is near."""
    known = sorted(known)
    near = get_close_matches(word, known, n=1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"


def key_text(loc: Iterable[int | str]) -> str:
    """`sources.braze.token_sha256[0]`; keys that TOML would quote are quoted."""
    text = ""
    for part in loc:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            bare = part.replace("-", "").replace("_", "").isalnum()
            text += ("." if text else "") + (part if bare else json.dumps(part))
    return text


def _line(fault: _Fault, model: type[BaseModel], layers: Layers) -> str:
    loc, kind, value, why = fault
    if loc[-1:] == ("[key]",):  # pydantic's word for a name that is refused itself
        keys = _keys(loc[:-1])
        expected = _place(model, keys[:-1]).expected
        return f"{layers.origin(keys)}: {key_text(keys)}: not such a name, expected {expected}; rename it"
    keys = _keys(loc)
    place = _place(model, keys)
    if kind in _UNKNOWN_KEY:
        hint = unknown_word(keys[-1], place.names)
        return f"{layers.origin(keys)}: {key_text(loc)}: there is no such setting; {hint}"
    if kind == "missing":
        return f"{layers.origin(keys)}: {key_text(loc)}: is missing, expected {place.expected}; add it"
    if why and place.is_table:
        return _wrong_table(loc, why if ";" in why else f"{why}; correct it", model, layers)
    return _wrong_value(loc, keys, value, why, model, layers)


def _wrong_table(loc: tuple[int | str, ...], why: str, model: type[BaseModel], layers: Layers) -> str:
    """A sentence about a whole table. Where it begins with one of the table's keys, that key is named."""
    keys = _keys(loc)
    named = (*keys, *why.split(" ", 1)[0].split("."))
    if _place(model, named).known:
        return f"{layers.origin(named)}: {key_text(loc)}{'.' if keys else ''}{why}"
    return f"{layers.origin(keys)}: {key_text(loc)}: {why}"


def _wrong_value(
    loc: tuple[int | str, ...], keys: Keys, value: object, why: str, model: type[BaseModel], layers: Layers
) -> str:
    place = _place(model, keys)
    hidden = place.secret or place.is_table  # what stands for a whole table may hold anything
    given = "something else, not shown because it may be secret" if hidden else _shown(value)
    given += f" ({why})" if why else ""
    way_out = "correct it" if place.default is MISSING else f"correct it, or leave it out{_default_text(place.default)}"
    expected = place.expected or "a table"
    return f"{layers.origin(keys)}: {key_text(loc)}: got {given}, expected {expected}; {way_out}"


def _default_text(default: object) -> str:
    return f" for {_shown(default)}" if isinstance(default, str | int | float | Path) else ""


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list | tuple):
        return "a list"
    text = json.dumps(value, ensure_ascii=False, default=str)  # one line, whatever it holds
    return text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "…"


def _place(model: type[BaseModel], keys: Keys) -> _Place:
    """Follow `keys` into the model. An unknown last key has the names that would be known there."""
    place = _Place(known=True, is_table=True, expected="a table", default=MISSING, secret=False, names=())
    node: object = model
    for key in keys:
        names = _names(node)
        place, node = _step(node, key)
        place = place._replace(names=names)
    return place


def _step(node: object, key: str) -> tuple[_Place, object]:
    if isinstance(node, type) and issubclass(node, BaseModel):
        return _field_place(node.model_fields.get(key))
    if is_dataclass(node):
        found = next((field for field in fields(node) if field.name == key), None)
        if found is None:
            return _NOWHERE, None
        return _NOWHERE._replace(known=True, expected="a number above 0", default=found.default, secret=False), None
    if (item := _item(node)) is not None:
        return _step(item, key)
    if get_origin(node) is dict:  # any name is known; what lies under it may be secret
        return _NOWHERE._replace(known=True, is_table=True, default=MISSING), get_args(node)[1]
    return _NOWHERE, None


def _field_place(field: FieldInfo | None) -> tuple[_Place, object]:
    if field is None:
        return _NOWHERE, None
    extra = field.json_schema_extra
    secret = "SecretStr" in repr(field.annotation) or (isinstance(extra, dict) and bool(extra.get("secret")))
    default = MISSING if field.is_required() else field.default
    is_table = _is_table(field.annotation)
    place = _Place(
        known=True, is_table=is_table, expected=field.description or "", default=default, secret=secret, names=()
    )
    return place, field.annotation


def _is_table(node: object) -> bool:
    """Whether it is a table or several of one name, `[[…]]`."""
    is_model = isinstance(node, type) and issubclass(node, BaseModel)
    return is_dataclass(node) or get_origin(node) is dict or is_model or _item(node) is not None


def _item(node: object) -> type[BaseModel] | None:
    """What `[[…]]` has one of in each table: the model in a tuple of models."""
    item = get_args(node)[0] if get_origin(node) is tuple else None
    return item if isinstance(item, type) and issubclass(item, BaseModel) else None


def _names(node: object) -> tuple[str, ...]:
    node = _item(node) or node
    if isinstance(node, type) and issubclass(node, BaseModel):
        return tuple(node.model_fields)
    return tuple(field.name for field in fields(node)) if is_dataclass(node) else ()


def _keys(loc: Iterable[int | str]) -> Keys:
    return tuple(part for part in loc if isinstance(part, str))


def _merge(weak: Table, strong: Mapping[str, object]) -> Table:
    merged = dict(weak)
    for key, value in strong.items():
        below = merged.get(key)
        both = isinstance(below, dict) and isinstance(value, dict)
        merged[key] = _merge(cast(Table, below), cast(Table, value)) if both else value
    return merged


def _holds(table: object, keys: Keys) -> bool:
    """Whether a value of this layer stands at `keys` or, as one text, above it."""
    for key in keys:
        if not isinstance(table, dict):
            return True
        if key not in table:
            return False
        table = table[key]
    return True


def _leaves(table: Mapping[str, object], above: Keys = ()) -> Iterator[tuple[Keys, object]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*above, key))
        else:
            yield (*above, key), value


def _value_at(layers: Layers, keys: Keys) -> object:
    value: object = layers.merged()
    for key in keys:
        value = cast(Table, value)[key]
    return value
