"""In which order the flow runs stages: what is `first` comes before all others, although they do not depend on it."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from flows.orchestration.graph import Node, read_graph
from flows.orchestration.policy import in_order, load_policies


def node(address: str, *upstream: str) -> Node:
    return Node(address, address.split("@")[0], upstream, results=(), command="", code=())


def test_stages_wait_for_what_is_first_and_for_what_is_upstream() -> None:
    nodes = [
        node("synthesize"), node("raw.dvc"), node("ingest", "synthesize"), node("ingest_external@cohort0", "raw.dvc"),
        node("ingest_external@cohort1", "synthesize"), node("admit@cohort0", "ingest", "ingest_external@cohort0"),
    ]  # fmt: skip
    first = ["ingest_external@cohort0", "ingest_external@cohort1"]
    assert [(each.address, waits) for each, waits in in_order(nodes, load_policies())] == [
        ("synthesize", []),
        ("raw.dvc", []),
        ("ingest_external@cohort0", ["raw.dvc"]),
        ("ingest_external@cohort1", ["synthesize"]),
        ("ingest", ["synthesize", *first]),
        ("admit@cohort0", ["ingest", *first]),
    ]


def test_without_external_sets_the_order_is_that_of_dvc() -> None:
    nodes = [node("a"), node("b", "a")]
    assert in_order(nodes, load_policies()) == [(nodes[0], []), (nodes[1], ["a"])]


@pytest.fixture
def with_external(repo: Path, tmp_path: Path) -> Path:
    """dvc.yaml with two external test sets."""
    from dvc.repo import Repo

    values = YAML(typ="safe").load((repo / "params.yaml").read_text())
    values["external"] = [
        {"name": name, "dataset": {"kind": "isic", "path": f"data/raw/{name}"}} for name in ("a", "b")
    ]
    with (tmp_path / "params.yaml").open("w") as file:
        YAML(typ="safe").dump(values, file)
    (tmp_path / "dvc.yaml").write_text((repo / "dvc.yaml").read_text())
    Repo.init(str(tmp_path), no_scm=True).close()
    return tmp_path


@pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")  # DVC 3.67 on pygtrie
def test_dvc_reads_external_sets_before_it_trains_and_no_training_depends_on_them(with_external: Path) -> None:
    nodes = read_graph(with_external)
    order = [each.address for each in nodes]
    read = [order.index(f"ingest_external@cohort{place}") for place in (0, 1)]
    assert max(read) < order.index("ingest") < order.index("pack")
    upstream = {each.address: set(each.upstream) for each in nodes}
    waiting, needed = [name for name in order if name.startswith(("finetune", "evaluate", "explain"))], set()
    assert len(waiting) > 10
    while waiting:
        needed.add(name := waiting.pop())
        waiting += upstream[name] - needed
    assert not {name for name in needed if name.startswith(("ingest_external", "admit", "external_validation"))}
    assert upstream["admit@cohort1"] >= {"ingest_external@cohort1"}
