"""Names that people give to classes, sources and levels, and that some tool refuses or takes for something else."""

from __future__ import annotations

CLASS_NAMES = (
    "mel",
    "mel, in-situ",  # commas separate columns
    "mel in-situ",
    "nevus (benign)",  # refused in MLflow's keys
    "nevus benign",
    "a+b",
    "ab",
    "a_x002B_b",  # as `a+b` is escaped
    "$x^$",  # no valid formula
    "$cost$ & $risk$",
    r"50 \% {total}",
    "übrige",
    "a/b",  # separates names in keys
    "a.b",
    "a|b",  # ends a cell of a Markdown table
    "a\nb",
    "a\tb",
    "😀 naevus",
    "黑色素瘤",
    "_hidden",  # matplotlib leaves such names out of legends
    "mel_low",  # as the lower end of an interval is named
    "true",
    "1",
    "null",
    "<b>bold</b>",
    "\"quoted\" & 'quoted'",
    "{{ 7 * 7 }}",  # a template
    "${dataset.path}",  # a template of DVC
    "%s %(name)s",
    "`code` *bold* [link](http://x)",
    "# heading",
    "../outside",
    "..",
    "label",  # names of columns
    "split",
    "melanoma of the skin, " * 14 + "first",  # longer than a key of MLflow
    "melanoma of the skin, " * 14 + "second",
)
