"""One rule for variables of the environment that a person set: they are narrowed, never replaced or raised.

A number of threads is the smaller of the person's and the setting's, and GPUs are taken from CUDA_VISIBLE_DEVICES.
"""

from __future__ import annotations

from collections.abc import Mapping

CUDA_VARIABLE = "CUDA_VISIBLE_DEVICES"
THREADS_VARIABLE = "OMP_NUM_THREADS"
OTHER_THREADS = (
    "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "BLIS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip
"""Variables that overrule OMP_NUM_THREADS in one library each."""

TORCH_THREADS = (THREADS_VARIABLE, "OMP_THREAD_LIMIT", "MKL_NUM_THREADS")
"""Variables that torch's threads depend on."""


def cuda_entries(environment: Mapping[str, str]) -> list[str] | None:
    """The entries of CUDA_VISIBLE_DEVICES that CUDA uses, as the person wrote them; None where it is not set.

    An entry is an index, `GPU-...` or `MIG-...`. As in CUDA, the first entry that is none of these or of another kind
    than the first ends the list, so that "" and "-1" mean no GPU, and a list with one entry twice is empty.
    Reference: CUDA programming guide, "CUDA environment variables"; `torch.cuda._parse_visible_devices` agrees.
    """
    text = environment.get(CUDA_VARIABLE)
    if text is None:
        return None
    entries = [entry.strip() for entry in text.split(",")]
    kind = next((prefix for prefix in ("GPU-", "MIG-") if entries[0].startswith(prefix)), "")
    used: list[str] = []
    for entry in entries:
        if entry in used:
            return []
        if not (entry.startswith(kind) if kind else entry.isdecimal()):
            break
        used.append(entry)
    return used


def allowed_threads(wanted: int, environment: Mapping[str, str]) -> int:
    """The number of threads that torch may use: `wanted`, or fewer where the person's variables say so."""
    return min([wanted, *(found for name in TORCH_THREADS if (found := first_number(environment.get(name, ""))))])


def narrowed_threads(wanted: int, environment: Mapping[str, str]) -> dict[str, str]:
    """Variables for a child process that is to use `wanted` threads.

    OMP_NUM_THREADS is always among them, the other variables where the person set them to more than `wanted`. A value
    that OpenMP would ignore, such as "" or "0", counts as not set.
    """
    return {THREADS_VARIABLE: _narrowed(wanted, environment.get(THREADS_VARIABLE, ""))} | {
        name: _narrowed(wanted, environment[name]) for name in OTHER_THREADS if environment.get(name)
    }


def _narrowed(wanted: int, text: str) -> str:
    """A person's number of threads, "8" or "8,4" (levels of nested parallel regions), with each at most `wanted`."""
    levels = [_number(level) for level in text.split(",")]
    return ",".join(str(min(level or wanted, wanted)) for level in levels) if levels[0] else str(wanted)


def first_number(text: str) -> int | None:
    """The number of threads in the value of a variable, the outermost of nested levels; None where there is none."""
    return _number(text.split(",")[0])


def _number(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isdecimal() and int(text) > 0 else None
