"""accepted_by_hand.csv: images are named by path or id in any form, and each entry that cannot be followed is named."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from components.base.errors import DataError
from components.data.image_names import ImageNames
from components.data.privacy import pseudonym
from components.validation.accepted_by_hand import ACCEPTED_COLUMNS, read_accepted
from components.validation.quarantine import BY_HAND

KEY = b"a key of 32 bytes, for tests only"


def images(folder: Path, key: bytes | None = None, **paths: str) -> ImageNames:
    """Images by id; with a key, their pseudonyms."""
    paths = paths or {"i0": "nv/0.jpg", "i1": "mel/1.jpg"}
    ids = [name if key is None else pseudonym("image", "s", name, key) for name in paths]
    return ImageNames.of(pd.DataFrame({"image_id": ids, "path": list(paths.values()), "source": "s"}), folder, key)


def write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    file = folder / "accepted_by_hand.csv"
    file.write_text(text, encoding)
    return file


def test_the_file_is_read_whatever_the_order_of_columns_and_the_spreadsheet(tmp_path: Path) -> None:
    text = (
        'rule,image_id,why,who\n\nimage.grey, i0 ,"grey, as all\nof that clinic",Dr Ä\n,,,\nimage.alpha,i1,why not,B\n'
    )
    entries = read_accepted(write(tmp_path, text, "utf-8-sig"), images(tmp_path))
    assert entries.table.to_dict("records") == [
        {"image_id": "i0", "rule": "image.grey", "who": "Dr Ä", "why": "grey, as all\nof that clinic"},
        {"image_id": "i1", "rule": "image.alpha", "who": "B", "why": "why not"},
    ]
    assert entries.named_by == {"id": 2}


def test_invisible_characters_around_a_cell_are_no_matter(tmp_path: Path) -> None:
    text = 'image_id,rule\u200b,who,why\n\u00a0i0\u200b,image.grey\u200b,\u00c4 B,"as\nthere"\n'
    entries = read_accepted(write(tmp_path, text), images(tmp_path))
    assert entries.table.iloc[0].to_list() == ["i0", "image.grey", "\u00c4 B", "as\nthere"]


@pytest.mark.parametrize("separator", [";", "\t"])
def test_the_separator_is_that_of_the_header(tmp_path: Path, separator: str) -> None:
    text = "image_id,rule,who,why\ni0,image.grey,A,B\n".replace(",", separator)
    assert read_accepted(write(tmp_path, text), images(tmp_path)).table["image_id"].tolist() == ["i0"]


@pytest.mark.parametrize("rule", BY_HAND)
def test_every_rule_that_people_may_overrule_is_read(tmp_path: Path, rule: str) -> None:
    file = write(tmp_path, f"image_id,rule,who,why\ni0,{rule},A,B\n")
    assert read_accepted(file, images(tmp_path)).table["rule"].tolist() == [rule]


def test_no_file_and_an_empty_one_with_a_header_accept_nothing(tmp_path: Path) -> None:
    assert read_accepted(tmp_path / "accepted_by_hand.csv", images(tmp_path)).table.empty
    found = read_accepted(write(tmp_path, "image_id,rule,who,why\n"), images(tmp_path)).table
    assert found.empty and list(found.columns) == list(ACCEPTED_COLUMNS)


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("Ärzte/p 7.jpg", "path"),
        ("A\u0308rzte/p 7.jpg", "path"),  # decomposed, as a Mac writes it
        ("./Ärzte//p 7.jpg", "path"),
        ("Ärzte\\p 7.jpg", "path"),
        ("ROOT/Ärzte/p 7.jpg", "path"),
        ("7", "id of the data set"),
        ("\u200b7.0", "id of the data set"),
        (pseudonym("image", "s", "7", KEY), "id"),
        (f" {pseudonym('image', 's', '7', KEY)}\u00a0", "id"),
    ],
)
def test_with_a_secret_key_an_image_is_named_by_path_own_id_or_pseudonym(tmp_path: Path, name: str, way: str) -> None:
    known = images(tmp_path, KEY, **{"7": "A\u0308rzte/p 7.jpg", "8": "p 8.jpg"})
    text = f"image_id,rule,who,why\n{name.replace('ROOT', str(tmp_path))},image.grey,A,B\n"
    found = read_accepted(write(tmp_path, text), known)
    assert found.table["image_id"].tolist() == [pseudonym("image", "s", "7", KEY)]
    assert found.named_by == {way: 1}


@pytest.mark.parametrize("cells", ["path,rule,who,why\nnv/0.jpg", "image_id,path,rule,who,why\ni0,nv/0.jpg",
                                   "path,image_id,rule,who,why\n,i0"])  # fmt: skip
def test_a_column_path_names_the_image_instead_of_the_id_or_beside_it(tmp_path: Path, cells: str) -> None:
    found = read_accepted(write(tmp_path, f"{cells},image.grey,A,B\n"), images(tmp_path))
    assert found.table["image_id"].tolist() == ["i0"]


REFUSED = {
    "": "line 1: has 0 columns, expected ['image_id', 'rule', 'who', 'why'], with the column path instead",
    "image_id,rule,who,why,when\n": "line 1: has 5 columns, expected",
    "image_id,rule,who\n": "line 1: has 3 columns, expected",
    "rule,who,why\n": "line 1: has 3 columns, expected",
    "image_id,rule,who,who\n": "line 1: has 4 columns",
    "H\ni0,image.grey,A,b,c\n": "line 2: has 5 cells, expected 4; put a text with",
    "H\ni0,image.grey,A,b\n,image.grey,A,b\n": "line 3: the image is not named, expected its path or its id",
    "H\ni0,,A,b\n": "line 2: rule is empty, expected the rule's name",
    "H\ni0,image.grey, ,b\n": "line 2: who is empty, expected the name of the person",
    "H\ni0,image.grey,A,\n": "line 2: why is empty, expected the reason",
    'H\ni0,image.grey,A,"two\nlines"\n\ni0,image.gray,A,b\n': "line 5: rule is no rule of the quarantine; exp",
    "H\ni0,image.corrupt,A,b\n": "line 2: rule is 'image.corrupt', and cannot be accepted by hand: there is no usable",
    "H\ni0,image.missing,A,b\n": "line 2: rule is 'image.missing', and cannot be accepted by hand: there is no usable",
    "H\ni0,age.range,A,b\n": "line 2: rule is 'age.range', and cannot be accepted by hand: later stages rely on",
    "H\ni0,diagnosis.outside_map,A,b\n": "line 2: rule is 'diagnosis.outside_map', and cannot be accepted by hand: the",
    "H\ni0,image.grey,A,b\nnv/0.jpg,image.grey,C,d\n": "line 3: the same image and rule image.grey are in line 2",
    "image_id,path,rule,who,why\ni0,mel/1.jpg,image.grey,A,b\n": "1 entries name no image of this data set (line 2)",
    'H\ni0,image.grey,A,"b\n': "is no table of comma-separated values in UTF-8",
}


@pytest.mark.parametrize("text", REFUSED)
def test_an_entry_that_cannot_be_followed_is_named(tmp_path: Path, text: str) -> None:
    file = write(tmp_path, re.sub(r"^H", "image_id,rule,who,why", text))
    with pytest.raises(DataError, match=rf"^{re.escape(str(file))}.*{re.escape(REFUSED[text])}"):
        read_accepted(file, images(tmp_path))


def test_all_unknown_images_are_named_at_once_and_apart_from_the_message(tmp_path: Path) -> None:
    text = "image_id,rule,who,why\nMuster/9.jpg,image.grey,A,b\ni0,image.grey,A,b\ni7,image.grey,A,b\n"
    with pytest.raises(DataError, match=r"2 entries name no image of this data set \(line 2, 4\); expected") as caught:
        read_accepted(write(tmp_path, text), images(tmp_path))
    assert "Muster" not in str(caught.value)
    assert caught.value.words == "line 2: 'Muster/9.jpg'; line 4: 'i7'"


def test_a_name_of_several_images_is_refused(tmp_path: Path) -> None:
    known = images(tmp_path, **{"a.jpg": "x/a.jpg", "b": "a.jpg"})
    text = "image_id,rule,who,why\na.jpg,image.grey,A,b\n"
    with pytest.raises(DataError, match=r"1 entries name several images \(line 2\)"):
        read_accepted(write(tmp_path, text), known)
    clear = "image_id,path,rule,who,why\na.jpg,x/a.jpg,image.grey,A,b\n"
    assert read_accepted(write(tmp_path, clear), known).table["image_id"].tolist() == ["a.jpg"]


def test_a_file_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    file = write(tmp_path, "image_id,rule,who,why\ni0,image.grey,Dr Ä,b\n", "latin-1")
    with pytest.raises(DataError, match=r"accepted_by_hand\.csv: is no table of comma-separated values in UTF-8"):
        read_accepted(file, images(tmp_path))
