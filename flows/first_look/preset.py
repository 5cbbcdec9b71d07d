"""The preset of a proposal as text, with a comment at everything that a person must check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from flows.first_look.dataset import SeenDataset
from flows.first_look.proposal import LEAST_GROUPS, Proposal

IDS = (
    "no ids of lesions or patients are known: each image counts as a lesion of its own. If images show one lesion or "
    "patient, name the ids: otherwise every result looks better than it is."
)


_ORIGIN = "By `dermflow init`"


def is_of_init(text: str) -> bool:
    """Whether a preset is one of `write_preset`, as its first line says."""
    return _ORIGIN in text.partition("\n")[0]


def write_preset(seen: SeenDataset, proposal: Proposal, path: Path) -> str:
    """The text of presets/NAME.yaml.

    Args:
        seen: the data set.
        proposal: what the preset says besides `dataset`.
        path: of the data set's folder, as the preset names it.
    """
    sections = [
        [
            f"# {proposal.name}: {len(seen.table)} images, adapter {seen.kind}. {_ORIGIN}: correct it,",
            f"# then `dermflow use {proposal.name}`. It holds what differs from presets/{proposal.base}.yaml.",
            f"base: {proposal.base}",
        ],
        _study(proposal),
        _dataset(seen, path),
        _labels(seen, proposal),
        _clinical(proposal),
        ["synthesize:", "  lesions: 0                       # nothing is drawn", "  unlabelled: 0"],
        _validate(proposal),
        []
        if seen.published
        else ["privacy:", "  key: secret                      # patients' data: ids become keyed hashes"],
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def _study(proposal: Proposal) -> list[str]:
    lines = ["study:", f"  name: {proposal.name}"]
    if proposal.base != "small":
        lines.append(
            "  protocols: [frozen]              # add full: the whole network is trained too, at many times the cost"
        )
    return lines


def _dataset(seen: SeenDataset, path: Path) -> list[str]:
    lines = ["dataset:", f"  kind: {seen.kind}", f"  path: {flow(str(path))}"]
    lines += [f"  # {note}" for note in seen.recognition.notes]
    for key, value in seen.recognition.settings.items():
        if isinstance(value, Mapping) and len(value) > 1:
            lines += [f"  {key}:", *(f"    {flow(name)}: {flow(each)}" for name, each in value.items())]
        else:
            lines.append(f"  {key}: {flow(value)}")
    if not seen.ids("lesion_id") and not seen.ids("patient_id"):
        lines += [f"  # {line}" for line in _wrapped(IDS)]
    return lines


def _labels(seen: SeenDataset, proposal: Proposal) -> list[str]:
    if proposal.seven:
        return [
            "labels:",
            "  scheme: seven                    # the seven diagnoses of HAM10000, as in presets/demo.yaml",
        ]
    counts = seen.diagnoses
    of = f" of {{}} {seen.unit}" if seen.unit != "images" else ""
    width = max(len(flow(word)) for word in proposal.classes)
    lines = [
        "labels:",
        "  scheme: own",
        "  schemes:",
        "    own:                           # class: its diagnoses; join what you do not want to tell apart",
    ]
    for word in proposal.classes:
        images, lesions = counts[word]
        entry = f"      {flow(word)}: [{flow(word)}]".ljust(2 * width + 12)
        lines.append(f"{entry}  # {images} images{of.format(lesions)}")
    if proposal.left_out:
        left = ", ".join(f"{word} ({images})" for word, images in proposal.left_out.items())
        lines.append(f"      # left out, as fewer than {LEAST_GROUPS} {seen.unit} have it: {left}")
    return lines


def _clinical(proposal: Proposal) -> list[str]:
    if proposal.seven:
        return []
    lines = ["clinical:"]
    if proposal.malignant is None:
        known = f"; not known is {', '.join(proposal.unknown)}"
        lines.append(f"  malignant: null                  # write the malignant diagnoses: [...]{known}")
    else:
        lines.append(f"  malignant: {flow(list(proposal.malignant))}   # a guess by the words: check it")
    lines += ["  severity: null                   # no triage levels", "  costs: null"]
    return lines


def _validate(proposal: Proposal) -> list[str]:
    lines = []
    if proposal.left_out:
        share = round(proposal.left_out_share + 0.02, 3)
        lines.append(f"  max_quarantined_share: {share}     # the diagnoses that are left out, and 2 % of others")
    if proposal.without:
        lines.append(f"  max_missing_share: null          # {', '.join(proposal.without)} is not known of most images")
    return ["validate:", *lines] if lines else []


def flow(value: Any) -> str:
    """A value as YAML in one line."""
    yaml, text = YAML(typ="safe"), StringIO()
    yaml.default_flow_style, yaml.width, yaml.allow_unicode = True, 2**30, True
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # ruamel declares it as None
    yaml.dump([_plain(value)], text)
    return text.getvalue().strip()[1:-1]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(each) for each in value]
    return value


def _wrapped(text: str) -> list[str]:
    import textwrap

    return textwrap.wrap(text, 110)
