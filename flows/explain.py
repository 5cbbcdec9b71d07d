"""Explain single predictions: attribution maps with their check, nearest train lesions, most confident errors.

It opens the test images after `evaluate`. No choice and no stage's result depends on it.
"""

from __future__ import annotations

from collections.abc import Sequence

from components.base.log import Log
from components.clinical.settings import Clinical
from components.comparison.settings import Compare
from components.data.adapters import Adapter
from components.data.labels import Labels
from components.data.pixels import read_pixels
from components.explanations.analysis import ExplanationsResult
from components.explanations.explainer import Explainer, LabelledImages
from components.explanations.page import draw_figures, encode_photographs, render
from components.explanations.record import as_metrics, as_record
from components.explanations.selection import ConfidentError, ModelRuns, choose_cases, find_errors, group_runs
from components.explanations.settings import Explain as ExplainSettings
from components.models.backbone import Backbone
from components.models.weights_file import read_architecture
from components.statistics.runs import Images, same_images
from components.training.settings import Compute
from flows.settings.study import Paths, Study
from flows.stage import stage
from flows.stage_io.predictions import classifier_path, load_run, open_inference_session
from flows.stage_io.publish import publish
from flows.stage_io.question import build_question
from flows.stage_io.runs import read_runs


@stage
def explain(
    study: Study,
    dataset: Adapter,
    labels: Labels,
    backbone: Backbone,
    compare: Compare,
    clinical: Clinical,
    explain: ExplainSettings,
    paths: Paths,
    compute: Compute,
    log: Log,
) -> dict[str, dict[str, float]]:
    """Write explanations.html and explanations.json; return the metrics that are compared from run to run."""
    session = open_inference_session(backbone, compute, log)
    question, classes = build_question(study, dataset, labels, compare), labels.classes
    malignant = clinical.malignant_classes(labels)
    train, test = (_read_images(paths, split, classes) for split in ("train", "test"))
    models = group_runs(read_runs(study, paths), classes)
    images = same_images([run for model in models for run in model.runs], "test", classes)
    errors = _find_errors(models, images, classes, malignant, explain.errors)
    cases = choose_cases(
        images,
        {name: found for name, (found, _) in errors.items()},
        classes=classes,
        count=explain.images,
        seed=explain.seed,
    )
    explainer = Explainer(
        train=train,
        test=test,
        question=question,
        settings=explain,
        architecture=lambda run: read_architecture(classifier_path(run.id, paths), backbone),
        load=lambda run: load_run(classifier_path(run.id, paths), backbone, classes, session),
        place=session.place,
        device=session.device,
    )
    explained = []
    for model in log.track(models, len(models), "explanations"):
        own_errors, wrong = errors[model.name]
        explained.append(explainer.explain(model, images, cases, errors=own_errors, wrong=wrong))
    result = ExplanationsResult(
        question=question,
        settings=explain,
        malignant=malignant,
        images=len(images.names),
        groups=len(set(images.groups)),
        cases=cases,
        models=tuple(explained),
    )
    figures = draw_figures(result)
    publish(
        paths.reports,
        "explanations",
        record=as_record(result),
        page=render(result, encode_photographs(result, train.pixels, test.pixels), figures),
        figures=figures,
        lines=[f"{model.name}: verdict on its maps: {model.verdict(explain)}" for model in result.models],
        log=log,
    )
    return as_metrics(result)


def _read_images(paths: Paths, split: str, classes: Sequence[str]) -> LabelledImages:
    pixels = read_pixels(paths.pixels / split)
    return LabelledImages(pixels, pixels.labels(classes))


def _find_errors(
    models: Sequence[ModelRuns],
    images: Images,
    classes: Sequence[str],
    malignant: Sequence[str] | None,
    limit: int,
) -> dict[str, tuple[tuple[ConfidentError, ...], int]]:
    """By model, the errors of its chosen run and how many it makes."""
    found = {}
    for model in models:
        others = [
            each.chosen
            for each in models
            if each.chosen.protocol == model.chosen.protocol and each.chosen.arm != model.chosen.arm
        ]
        found[model.name] = find_errors(model, others, images, classes=classes, malignant=malignant, limit=limit)
    return found


if __name__ == "__main__":
    explain.main()
