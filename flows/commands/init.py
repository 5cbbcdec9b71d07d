"""`dermflow init`: looks at a data set, proposes a study, writes its preset, makes it active and checks the data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from components.base.errors import DataError, RunError, SettingsError
from components.base.fields import Name
from components.base.files import write_text
from components.data.first_look import look_at
from flows import presets
from flows.commands.restored import restored
from flows.first_look.dataset import SHOWN, SeenDataset, read, recognise, words
from flows.first_look.preset import is_of_init, write_preset
from flows.first_look.proposal import LEAST_GROUPS, MANY_CLASSES, Proposal, propose
from flows.settings import PARAMS, load_settings
from flows.stage_io.pseudonym_key import key_file, make_key

Echo = Callable[[str], None]
Ask = Callable[[Proposal], Proposal | None]


def look_and_ask(
    place: Path, *, name: str | None, kind: str | None, ask: Ask, echo: Echo
) -> tuple[SeenDataset, Proposal] | None:
    """Look at a data set, propose a study and ask; nothing is written.

    Args:
        place: folder, table or archive.
        name: of the preset; by default that of the folder.
        kind: of the adapter; by default the one that recognises the layout.
        ask: lets a person change the proposal; None: nothing is to be written.
        echo: shows a line.

    Returns:
        The data set and what is to be written; None where a person declines.

    Raises:
        DataError: where the data set cannot be read, has no image, or fewer than two classes.
        SettingsError: where no preset can have the name.
    """
    if name is not None:
        check_name(name)
    look = look_at(place)
    chosen, recognition = recognise(look, kind)
    seen = read(look, chosen, recognition)
    for line in describe(seen):
        echo(line)
    if not seen.found:
        raise DataError(_no_image(seen))
    proposal = propose(seen, name)
    for line in describe_proposal(seen, proposal):
        echo(line)
    answered = ask(proposal)
    return None if answered is None else (seen, answered)


def check_name(name: str) -> None:
    """Raise SettingsError where no study, and so no preset of `init`, can have the name."""
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError:
        raise SettingsError(
            f"{name!r}: no name of a preset; expected lower-case letters, digits and underscores, a letter first, at "
            "most 64: add --name"
        ) from None


def describe(seen: SeenDataset) -> list[str]:
    """What was seen, one line a fact."""
    lines = [_fact("adapter", f"{seen.kind}: {seen.recognition.seen}")]
    lines += [_fact("table", f"{table.file}: {table.rows} rows, {table.form}") for table in seen.report.tables]
    columns = seen.recognition.settings.get("columns")
    if columns:
        lines.append(_fact("columns", ", ".join(f"{ours}: {theirs}" for ours, theirs in columns.items())))
    lines += [_fact("note", note) for note in seen.recognition.notes]
    lines.append(_fact("images", f"{seen.found} of {len(seen.table)} rows have their image"))
    classes = {word: images for word, (images, _) in seen.diagnoses.items()}
    unlabelled = f"; {seen.unlabelled} images have none" if seen.unlabelled else ""
    lines.append(_fact("diagnoses", f"{len(classes)}: {words(classes)}{unlabelled}" if classes else "none is stated"))
    for what, column in (("lesions", "lesion_id"), ("patients", "patient_id")):
        known, count = seen.report.known_ids[column], seen.ids(column)
        text = f"{count}, known of {known} of {len(seen.table)} images" if count else "no ids"
        lines.append(_fact(what, text))
    lines += [_fact("warning", warning.message) for warning in seen.report.warnings]
    return lines


def describe_proposal(seen: SeenDataset, proposal: Proposal) -> list[str]:
    """What is proposed, and what a person must decide."""
    lines = [_fact("classes", ", ".join(proposal.classes[:SHOWN]) + (" ..." if len(proposal.classes) > SHOWN else ""))]
    if proposal.left_out:
        lines.append(_fact("left out", f"{words(proposal.left_out)}: fewer than {LEAST_GROUPS} {seen.unit} each"))
    if len(proposal.classes) > MANY_CLASSES:
        lines.append(_fact("note", f"{len(proposal.classes)} classes are many: join some under labels.schemes"))
    if proposal.malignant is None:
        lines.append(_fact("malignant", f"not known of {', '.join(proposal.unknown[:SHOWN])}: set clinical.malignant"))
    else:
        lines.append(_fact("malignant", f"{', '.join(proposal.malignant) or 'none'} (a guess by the words: check it)"))
    if seen.published:
        lines.append(_fact("privacy", "a published data set: ids are hashed with the public key"))
    else:
        lines.append(
            _fact("privacy", "not a published data set: ids of images and persons are hashed with a secret key")
        )
    return lines


def _fact(name: str, text: str) -> str:
    return f"  {name:<10} {text}"


def _no_image(seen: SeenDataset) -> str:
    rows = f"{seen.look.root}: none of the {len(seen.table)} images is there"
    if not seen.look.images:
        return (
            f"{rows}, and no other image. Put them below this folder, then `dermflow init` again; nothing was written"
        )
    nearest = "\n  ".join(seen.nearest)
    return (
        f"{rows}, though {len(seen.look.images)} others are. Of the first rows:\n  {nearest}\nCorrect the names in the "
        "table or of the files, then `dermflow init` again; nothing was written"
    )


def write_and_use(seen: SeenDataset, proposal: Proposal, *, again: bool, echo: Echo) -> Path:
    """Write the preset, make it active, and make the secret key where it is needed; no other run may work here.

    Args:
        seen: the data set.
        proposal: what the preset says.
        again: whether a preset of this name that `init` wrote is replaced.
        echo: shows a line.

    Returns:
        The preset.

    Raises:
        SettingsError: where the name is none or taken, or the settings are refused; preset and params.yaml are then
            as before.
    """
    check_name(proposal.name)
    file = presets.FOLDER / f"{proposal.name}.yaml"
    if file.exists() and not is_of_init(file.read_text("utf-8")):
        raise SettingsError(
            f"{file} was not written by `dermflow init`, so it is not replaced: add --name for another preset"
        )
    if file.exists() and not again:
        raise SettingsError(
            f"{file} exists: add --name for another preset, --again to replace it, or use it: "
            f"`dermflow use {proposal.name}`"
        )
    with restored(file, PARAMS):
        write_text(file, write_preset(seen, proposal, _from_root(seen.look.root)))
        presets.use(proposal.name, [])
        made = make_key() if load_settings().privacy.key == "secret" and not key_file().exists() else None
    echo(f"wrote {file}, and params.yaml from it (`dermflow use {proposal.name}`)")
    if made is not None:
        echo(f"made the secret key {made}: keep it; with another key the same ids get other pseudonyms")
    return file


def _from_root(folder: Path) -> Path:
    """As a preset names it: below the repository relative to it, else the whole path."""
    place = folder.resolve()
    here = Path.cwd().resolve()
    return place.relative_to(here) if place.is_relative_to(here) else place


def check_data(echo: Echo) -> int:
    """Run the data checks of the active settings; returns the exit status."""
    from flows.commands.run_view import shown_run

    with shown_run(verbose=False):
        from flows.pipeline import main

        status = main(target="validate")
    settings = load_settings()
    page = settings.paths.reports / "data.html"
    if page.exists():
        echo(f"data page: {page} (open it in a browser); rejected rows: {settings.paths.quarantine}")
    if status == 0:
        echo("next: read the data page, correct the preset where it is wrong, then `dermflow run`")
    return status


def with_answers(proposal: Proposal, name: str, malignant: str) -> Proposal:
    """The proposal with what a person answered.

    Args:
        proposal: the original one.
        name: of the preset.
        malignant: words with commas; empty: not known.

    Raises:
        RunError: where a word is none of the classes.
        SettingsError: where no preset can have the name.
    """
    check_name(name)
    chosen = tuple(word.strip() for word in malignant.split(",") if word.strip())
    wrong = [word for word in chosen if word not in proposal.classes]
    if wrong:
        raise RunError(f"{', '.join(wrong)}: no class; expected some of {', '.join(proposal.classes)}")
    return replace(proposal, name=name, malignant=chosen or None, unknown=() if chosen else proposal.unknown)
