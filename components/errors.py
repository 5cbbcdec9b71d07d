"""The errors that a person can mend: each names the thing, its value, what was expected and where to mend it."""


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
