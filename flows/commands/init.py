"""`dermflow init`: looks at a data set, proposes a study, writes its preset, makes it active and checks the data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from components.base.errors import DataError, RunError, SettingsError
from components.base.files import write_text
from components.data.first_look import look_at
from flows import presets
from flows.first_look.dataset import SHOWN, SeenDataset, read, recognise, words
from flows.first_look.preset import write_preset
from flows.first_look.proposal import LEAST_LESIONS, MANY_CLASSES, Proposal, propose
from flows.settings import load_settings
from flows.stage_io.pseudonym_key import key_file, make_key

Echo = Callable[[str], None]
Ask = Callable[[Proposal], Proposal | None]


def init(place: Path, *, name: str | None, kind: str | None, again: bool, ask: Ask, echo: Echo) -> Path | None:
    """Look, propose, write the preset and make it active.

    Args:
        place: folder, table or archive.
        name: of the preset; by default that of the folder.
        kind: of the adapter; by default the one that knows the layout.
        again: whether a preset of this name is replaced.
        ask: lets a person change the proposal; None: nothing is written.
        echo: shows a line.

    Returns:
        The preset; None where nothing was written.

    Raises:
        DataError: where the data set cannot be read, has no image, or fewer than two classes.
    """
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
    if answered is None:
        return None
    return _write(seen, answered, again, echo)


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
        lines.append(_fact("left out", f"{words(proposal.left_out)}: fewer than {LEAST_LESIONS} {seen.unit} each"))
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


def _write(seen: SeenDataset, proposal: Proposal, again: bool, echo: Echo) -> Path:
    file = presets.FOLDER / f"{proposal.name}.yaml"
    if file.exists() and not again:
        raise SettingsError(
            f"{file} exists: add --name for another preset, --again to replace it, or use it: "
            f"`dermflow use {proposal.name}`"
        )
    former = file.read_text("utf-8") if file.exists() else None
    write_text(file, write_preset(seen, proposal, _from_root(seen.look.root)))
    try:
        presets.use(proposal.name, [])
    except SettingsError:
        file.unlink() if former is None else write_text(file, former)
        raise
    echo(f"wrote {file}, and params.yaml from it (`dermflow use {proposal.name}`)")
    settings = load_settings()
    if settings.privacy.key == "secret" and not key_file().exists():
        echo(f"made the secret key {make_key()}: keep it; with another key the same ids get other pseudonyms")
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
    """
    chosen = tuple(word.strip() for word in malignant.split(",") if word.strip())
    wrong = [word for word in chosen if word not in proposal.classes]
    if wrong:
        raise RunError(f"{', '.join(wrong)}: no class; expected some of {', '.join(proposal.classes)}")
    return replace(proposal, name=name, malignant=chosen or None, unknown=() if chosen else proposal.unknown)
