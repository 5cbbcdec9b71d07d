"""The report of what was read: log lines, metrics, the complete file."""

from __future__ import annotations

import json

from components.data.read_report import EXAMPLES, Join, ReadReport, TableRead


def filled() -> ReadReport:
    report = ReadReport(images=3, known_ids={"patient_id": 2, "lesion_id": 0})
    report.tables.append(TableRead("t.csv", 3, "separator ';', utf-8"))
    report.joins.append(Join("md.csv", 2, 3, "equal ids"))
    report.count_changed("patient", 2)
    report.count_changed("lesion", 0)
    report.files["images"] = 4
    report.warn("similar_ids", 2, "2 pairs are similar", (f"'Anna {place}'" for place in range(EXAMPLES + 5)))
    report.warn("similar_ids", 1, "1 pairs are similar")
    return report


def test_lines_say_everything_and_examples_only_if_wanted():
    private = filled().lines(with_examples=False)
    assert private == [
        "t.csv: 3 rows (separator ';', utf-8)",
        "md.csv: 2 of 3 images matched (equal ids)",
        "patient: 2 cells changed to one form",
        "patient_id: known of 2 of 3 images",
        "lesion_id: known of 0 of 3 images",
        "in the folder: 4 images",
        "warning: 2 pairs are similar",
        "warning: 1 pairs are similar",
    ]
    public = filled().lines(with_examples=True)
    assert public[6] == "warning: 2 pairs are similar: 'Anna 0'; 'Anna 1'; 'Anna 2'"


def test_metrics_are_numbers_without_examples():
    counts = filled().counts()
    assert counts == {
        "tables": {"t.csv": 3}, "joins": {"md.csv": {"matched": 2, "rows": 3}}, "cells_changed": {"patient": 2},
        "files": {"images": 4}, "images": 3, "known_ids": {"patient_id": 2, "lesion_id": 0},
        "warnings": {"similar_ids": 3},
    }  # fmt: skip


def test_the_complete_report_survives_json_with_bytes_that_are_no_text():
    report = filled()
    report.warn("odd_names", 1, "1 file", [b"m\xfcller.jpg".decode("utf-8", "surrogateescape")])
    again = ReadReport.parse(json.loads(json.dumps(report.complete(), ensure_ascii=False).encode("utf-8")))
    assert again == report
    assert again.warnings[-1].examples == ("m\\udcfcller.jpg",)
    assert len(again.warnings[0].examples) == EXAMPLES
