"""The errors that a person can mend: each names the thing, its value, what was expected and where to mend it."""

from typing import Generic, TypeVar

P = TypeVar("P", bound=str)


class DermflowError(Exception):
    """Base of every error whose message is written for the person who runs the pipeline."""


class SettingsError(DermflowError):
    """A value of params.yaml is unknown, missing or impossible."""


class DataError(DermflowError):
    """Images or metadata are missing, broken or contradict each other."""


class LeakError(DermflowError):
    """A patient, lesion or duplicate would stand in two splits."""


class WeightsError(DermflowError):
    """Pretrained weights are missing, or are not the ones that they claim to be."""


class CheckpointError(DermflowError):
    """A checkpoint or encoder was made under other settings than the present ones."""


class TrainingError(DermflowError):
    """Training cannot go on: a loss is not finite, or there is nothing to learn from."""


class RunError(DermflowError):
    """The pipeline cannot start or go on: another run is here, a stage failed, a deadline passed."""


class UnusableError(ValueError, Generic[P]):
    """A file cannot be used: `problem` in one word, the message what is wrong with it."""

    def __init__(self, problem: P, detail: str) -> None:
        super().__init__(problem, detail)  # both, since a process pool rebuilds an exception from its arguments
        self.problem = problem
        self.detail = detail

    def __str__(self) -> str:
        return self.detail
