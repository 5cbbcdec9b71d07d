"""Presets: the demo's settings whole, every other preset only what differs; params.yaml is always the result."""

from __future__ import annotations

import difflib
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from components.base.errors import SettingsError
from flows.settings import PARAMS, parse_settings

FOLDER = Path("presets")
BASE = FOLDER / "demo.yaml"


def preset_names() -> list[str]:
    """What `dermflow use` offers."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def render(preset: str, changes: Iterable[str]) -> str:
    """params.yaml's text for a preset and `key=value` changes, comments kept, checked whole."""
    if preset not in preset_names():
        raise SettingsError(f"preset {preset!r} is none of {preset_names()} (files in {FOLDER}/)")
    yaml = _round_trip()
    settings = yaml.load(BASE.read_text())
    _merge(settings, yaml.load((FOLDER / f"{preset}.yaml").read_text()))
    for change in changes:
        _set(settings, change)
    _drop_other_arms(settings)
    text = io.StringIO()
    yaml.dump(settings, text)
    parse_settings(YAML(typ="safe").load(text.getvalue()), "use")
    return text.getvalue()


def edit(text: str, change: str) -> str:
    """Another params.yaml's text with one `key=value` changed; a place in a list is its number from 0."""
    yaml = _round_trip()
    settings = yaml.load(text)
    _set(settings, change)
    changed = io.StringIO()
    yaml.dump(settings, changed)
    return changed.getvalue()


def use(preset: str, changes: Iterable[str]) -> str:
    """Write params.yaml and return what changed in it as a unified diff, empty when nothing did."""
    text = render(preset, changes)
    before = PARAMS.read_text() if PARAMS.exists() else ""
    temporary = PARAMS.with_suffix(".yaml.part")
    temporary.write_text(text)
    temporary.replace(PARAMS)
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
    """Deep; a section of another kind replaces the former whole, as its other keys mean nothing there."""
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
    """Keep the arms that study.arms names: dvc.yaml makes a stage of each under pretrain.arms."""
    chosen, defined = settings["study"]["arms"], settings["pretrain"]["arms"]
    for arm in [name for name in defined if name not in chosen]:
        del defined[arm]


def _set(settings: Any, change: str) -> None:
    """`finetune.full.epochs=3`: the value is YAML, the key must stand in params.yaml already."""
    key, mark, text = change.partition("=")
    if not mark:
        raise SettingsError(f"use: {change!r} is no key=value, such as finetune.full.epochs=3")
    *parents, last = key.split(".")
    place = settings
    for part in parents:
        if isinstance(place, list) and part.isdecimal():
            place = place[int(part)] if int(part) < len(place) else None
        else:
            place = place.get(part) if isinstance(place, Mapping) else None
    if not isinstance(place, Mapping) or (last not in place and "kind" not in place):
        known = ", ".join(place) if isinstance(place, Mapping) else "nothing"
        raise SettingsError(f"use: {key} is no setting; under {'.'.join(parents) or 'params.yaml'} stand: {known}")
    try:
        place[last] = YAML(typ="safe").load(text)  # type: ignore[index]  # a mapping of ruamel's is mutable
    except YAMLError as error:
        raise SettingsError(f"use: {key}: {text!r} is not YAML: {error}") from error
