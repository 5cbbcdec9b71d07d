"""Presets: demo.yaml holds all settings, every other preset only what differs; the result is params.yaml.

A preset may build on another one, which its key `base` names: `base: ham10000`. Without it, it builds on demo.yaml.
What a preset holds is merged key by key into what it builds on. Lists and single values replace the former ones whole,
and so does a section of another `kind`.
"""

from __future__ import annotations

import difflib
import io
from collections.abc import Iterable, Mapping
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from components.base.config import key_parts
from components.base.errors import SettingsError
from components.base.files import write_text
from components.base.home import HOME_ERROR
from flows.settings import PARAMS, Settings, parse_settings

FOLDER = Path("presets")
BASE = FOLDER / "demo.yaml"
BASE_KEY = "base"  # names the preset that one builds on


def preset_names() -> list[str]:
    """Names of the presets that `dermflow use` accepts."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def render(preset: str, changes: Iterable[str]) -> str:
    """The text of params.yaml for a preset with changes; comments are kept, and all settings are checked.

    Args:
        preset: a name of `preset_names`.
        changes: each `key=value`, with a dotted key and a value in YAML. A path may begin with `~`: params.yaml gets
            the whole path, since DVC reads it there.

    Raises:
        SettingsError: where the preset, a key or a value is wrong.
    """
    settings, *others = _chain(preset)
    for other in others:
        _merge(settings, other)
    for change in changes:
        _set(settings, change)
    _drop_other_arms(settings)
    _expand_homes(settings)
    text = _as_text(settings)
    parse_settings(YAML(typ="safe").load(text), "use")
    return text


def _chain(preset: str) -> list[Any]:
    """The contents of demo.yaml and of all presets on the way to `preset`, which comes last.

    Raises:
        SettingsError: where a preset is unknown or no mapping, or builds on itself.
    """
    names = [preset]
    contents = [_read(preset)]
    while names[-1] != BASE.stem:
        base = contents[-1].pop(BASE_KEY, BASE.stem)
        way = " -> ".join([*names, str(base)])
        if base in names:
            raise SettingsError(f"preset {preset!r} builds on itself: {way}; change `{BASE_KEY}` in one of these files")
        names.append(base)
        contents.append(_read(base, f"{FOLDER / names[-2]}.yaml: {BASE_KEY}"))
    if BASE_KEY in contents[-1]:
        raise SettingsError(f"{BASE}: holds all settings and builds on no other preset; remove `{BASE_KEY}`")
    return contents[::-1]


def _read(preset: str, what: str = "preset") -> Any:
    """The content of a preset with its comments; `what` begins the message for an unknown one."""
    if preset not in preset_names():
        near = difflib.get_close_matches(str(preset), preset_names(), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise SettingsError(f"{what} {preset!r} is not one of {preset_names()} (files in {FOLDER}/){hint}")
    path = FOLDER / f"{preset}.yaml"
    try:
        content = _round_trip().load(path.read_text("utf-8"))
    except (YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: is not YAML: {error}") from error
    if not isinstance(content, Mapping):
        raise SettingsError(f"{path}: expected sections of settings, as in {BASE}; it holds {content!r}")
    return content


def _as_text(settings: Any) -> str:
    text = io.StringIO()
    _round_trip().dump(settings, text)
    return text.getvalue()


def _expand_homes(settings: Any) -> None:
    """Write the whole path for each setting that is refused because it begins with `~`."""
    data = YAML(typ="safe").load(_as_text(settings))
    try:
        Settings.model_validate(data)
    except ValidationError as error:
        for problem in error.errors(include_url=False):
            if problem["type"] == HOME_ERROR:
                *parents, last = key_parts(problem["loc"], data)
                reduce(getitem, parents, settings)[last] = problem["ctx"]["expanded"]


def edit(text: str, change: str) -> str:
    """The text of a params.yaml with one `key=value` changed; in a key, the index into a list counts from 0."""
    settings = _round_trip().load(text)
    _set(settings, change)
    return _as_text(settings)


def use(preset: str, changes: Iterable[str]) -> str:
    """Write params.yaml and return what changed in it as a unified diff, empty when nothing did."""
    text = render(preset, changes)
    before = PARAMS.read_text() if PARAMS.exists() else ""
    write_text(PARAMS, text)
    lines = difflib.unified_diff(
        before.splitlines(), text.splitlines(), "params.yaml before", "params.yaml", n=0, lineterm=""
    )
    return "\n".join(lines)


def _round_trip() -> YAML:
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.add_representer(
        type(None), lambda dumper, _: dumper.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    return yaml


def _merge(settings: Any, changes: Mapping[str, Any]) -> None:
    """Merge nested sections in place; a section of another `kind` replaces the old one, whose keys do not fit it."""
    for key, value in changes.items():
        old = settings.get(key)
        replaced = (
            isinstance(old, Mapping)
            and isinstance(value, Mapping)
            and old.get("kind") != value.get("kind", old.get("kind"))
        )
        if isinstance(old, Mapping) and isinstance(value, Mapping) and not replaced:
            _merge(old, value)
        else:
            settings[key] = value


def _drop_other_arms(settings: Any) -> None:
    """Keep the arms that study.arms names: dvc.yaml makes a stage of each under pretrain.arms.

    Raises:
        SettingsError: for a name that no arm has.
    """
    chosen, defined = settings["study"]["arms"], settings["pretrain"]["arms"]
    if not isinstance(chosen, list) or not isinstance(defined, dict):
        return  # which the check of the settings tells
    for arm in chosen:
        if arm not in defined:
            near = difflib.get_close_matches(str(arm), list(defined), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise SettingsError(f"study.arms names {arm!r}, expected one of pretrain.arms {list(defined)}{hint}")
    for arm in [name for name in defined if name not in chosen]:
        del defined[arm]


def _set(settings: Any, change: str) -> None:
    """Apply a change such as `finetune.full.epochs=3`: the value is YAML, the key must exist in params.yaml."""
    key, mark, text = change.partition("=")
    if not mark:
        raise SettingsError(f"use: {change!r} is not key=value, such as finetune.full.epochs=3")
    *parents, last = key.split(".")
    place = settings
    for part in parents:
        if isinstance(place, list) and part.isdecimal():
            place = place[int(part)] if int(part) < len(place) else None
        else:
            place = place.get(part) if isinstance(place, Mapping) else None
    if not isinstance(place, Mapping) or (last not in place and "kind" not in place):
        known = ", ".join(place) if isinstance(place, Mapping) else "nothing"
        raise SettingsError(
            f"use: {key} is no setting; the settings under {'.'.join(parents) or 'params.yaml'} are: {known}"
        )
    try:
        place[last] = YAML(typ="safe").load(text)  # type: ignore[index]  # a mapping of ruamel's is mutable
    except YAMLError as error:
        raise SettingsError(f"use: {key}: {text!r} is not YAML: {error}") from error
