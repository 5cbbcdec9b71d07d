"""Errors that a user can fix: each message names the thing, its value, what was expected and where to fix it.

What a message takes from a data set's own table (cells, header, ids, names of images) may identify a person. It is kept
apart, in `words`, so that a run with private data can show the message and keep the words on this host.
"""

from typing import Generic, Self, TypeVar

P = TypeVar("P", bound=str)


class DermflowError(Exception):
    """Base of every error whose message is written for the user who runs the pipeline.

    Attributes:
        words: what was found, in the data set's own words; `str` of the error is without them.
    """

    words: str = ""

    def with_words(self, words: str) -> Self:
        """The error itself, with the data set's own words, such as `first ISIC_7: age is 'old'`."""
        self.words = words
        return self

    @property
    def complete(self) -> str:
        """Message and words, for users who may see both."""
        return f"{self} ({self.words})" if self.words else str(self)


class SettingsError(DermflowError):
    """A value of params.yaml is unknown, missing or impossible."""


class DataError(DermflowError):
    """Images or metadata are missing, broken or contradict each other."""


class LeakError(DermflowError):
    """A patient, a lesion or a duplicate image would be in two splits."""


class WeightsError(DermflowError):
    """Pretrained weights are missing, or their content is not what their name or header states."""


class CheckpointError(DermflowError):
    """A checkpoint or encoder was made with settings other than the present ones."""


class TrainingError(DermflowError):
    """Training cannot continue: a loss is not finite, or there are no images to learn from."""


class RunError(DermflowError):
    """The pipeline cannot start or continue: another run is active, a stage failed, a deadline passed."""


class UnusableError(ValueError, Generic[P]):
    """A file cannot be used.

    Attributes:
        problem: the kind of problem, one of a few words.
        detail: what is wrong, as a message.
    """

    def __init__(self, problem: P, detail: str) -> None:
        super().__init__(problem, detail)  # both arguments, since a process pool rebuilds an exception from them
        self.problem = problem
        self.detail = detail

    def __str__(self) -> str:
        return self.detail
