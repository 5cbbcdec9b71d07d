"""Presets: demo.yaml holds all settings, every other preset only what differs; the result is params.yaml."""

from __future__ import annotations

import difflib
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from components.base.errors import SettingsError
from components.base.files import write_text
from flows.settings import PARAMS, parse_settings

FOLDER = Path("presets")
BASE = FOLDER / "demo.yaml"


def preset_names() -> list[str]:
    """Names of the presets that `dermflow use` accepts."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def render(preset: str, changes: Iterable[str]) -> str:
    """The text of params.yaml for a preset with changes; comments are kept, and all settings are checked.

    Args:
        preset: a name of `preset_names`.
        changes: each `key=value`, with a dotted key and a value in YAML.

    Raises:
        SettingsError: where the preset, a key or a value is wrong.
    """
    if preset not in preset_names():
        raise SettingsError(f"preset {preset!r} is not one of {preset_names()} (files in {FOLDER}/)")
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
    """The text of a params.yaml with one `key=value` changed; in a key, the index into a list counts from 0."""
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
    """Keep the arms that study.arms names: dvc.yaml makes a stage of each under pretrain.arms."""
    chosen, defined = settings["study"]["arms"], settings["pretrain"]["arms"]
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
