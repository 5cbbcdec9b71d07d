"""Images of DICOM files: pydicom's own test files, and files of each colour space, depth and transfer syntax."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from random import Random

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.uid import MPEG2MPML, JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless, RLELossless

from components.data import file_kinds
from components.data.dicom_images import convert, is_keyword, read_attributes
from components.data.file_tree import list_files, list_images
from components.data.source_error import SourceError
from components.data.sources import read_bytes
from tests.unit.data.example_data import dicom_of, drawn, drawn_pixels, pack, write_dicom
from tests.unit.data.shards import problem_of

COLOURS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)

# of pydicom: name -> format of the image that is handed out
READ = {
    "SC_rgb_small_odd.dcm": "PNG",
    "SC_rgb_small_odd_big_endian.dcm": "PNG",
    "SC_ybr_full_422_uncompressed.dcm": "PNG",
    "SC_rgb_rle.dcm": "PNG",
    "image_dfl.dcm": "PNG",  # deflated, MONOCHROME2
    "examples_rgb_color.dcm": "PNG",
    "SC_rgb_jpeg_dcmtk.dcm": "JPEG",
    "SC_rgb_dcmtk_+eb+cr.dcm": "JPEG",  # RGB, which its Adobe marker states
    "SC_rgb_dcmtk_+eb+cy+np.dcm": "JPEG",
    "SC_rgb_small_odd_jpeg.dcm": "JPEG",
    "SC_jpeg_no_color_transform_2.dcm": "JPEG",
    "SC_rgb_gdcm_KY.dcm": "JPEG2000",
    "examples_jpeg2k.dcm": "JPEG2000",
}
REFUSED = {
    "CT_small.dcm": r"has 16 signed bits a sample, expected 8; .*dcmj2pnm \+Wm",
    "JPEG-lossy.dcm": r"has 12 bits a sample",
    "liver_1frame.dcm": r"has 1 bits a sample, expected 8; such files are masks",
    "SC_rgb_jpeg.dcm": r"states the colours RGB, but a decoder takes its JPEG for YBR",
    "SC_rgb_rle_2frame.dcm": r"has 2 frames; name the one that counts",
    "JPEGLSNearLossless_08.dcm": r"JPEG-LS Lossy .*is not read; decompress it with `dcmdjpls",
    "SC_rgb_jpeg_gdcm.dcm": r"JPEG Lossless.* is not read; decompress it with `dcmdjpeg",
    "reportsi.dcm": r"is a DICOM file without an image",
    "no_meta.dcm": r"is no DICOM file: it lacks DICM at byte 128; write it again with `dcmconv \+f",
    "meta_missing_tsyntax.dcm": r"is a damaged DICOM file",
}


def file_of(name: str) -> Path:
    return Path(str(get_testdata_file(name, download=False)))


def decoded(data: bytes) -> tuple[str, np.ndarray]:
    with Image.open(io.BytesIO(data)) as image:
        return str(image.format), np.asarray(image)


@pytest.mark.parametrize("name", READ)
def test_the_image_is_that_of_pydicom(name):
    form, pixels = decoded(convert(file_of(name).read_bytes(), name))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = pydicom.pixels.pixel_array(pydicom.dcmread(file_of(name)))
    assert form == READ[name]
    assert np.array_equal(pixels, expected)


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_need_a_decision_is_refused_with_the_remedy(name):
    with pytest.raises(SourceError, match=REFUSED[name]):
        convert(file_of(name).read_bytes(), name)


def test_encapsulated_bytes_are_handed_out_exactly(tmp_path: Path):
    for syntax, colours, data in (
        (JPEGBaseline8Bit, "YBR_FULL_422", drawn(3)),
        (JPEG2000Lossless, "YBR_RCT", drawn(3, "JPEG2000")),
    ):
        for image in (data, data + b"\0" * (len(data) % 2)):  # DICOM pads to an even length
            dataset = dicom_of(drawn_pixels(3))
            dataset.file_meta.TransferSyntaxUID = syntax
            dataset.PhotometricInterpretation = colours
            dataset.PixelData = encapsulate([image])
            dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
            assert read_bytes(tmp_path, "a.dcm") == data


def write(file: Path, pixels: np.ndarray, **attributes: object) -> None:
    dataset = dicom_of(pixels)
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset.save_as(file, enforce_file_format=True)


def test_planes_and_grey_levels_become_rgb_and_white_on_black(tmp_path: Path):
    write(tmp_path / "a.dcm", COLOURS, PlanarConfiguration=1, PixelData=np.moveaxis(COLOURS, -1, 0).tobytes())
    assert np.array_equal(decoded(read_bytes(tmp_path, "a.dcm"))[1], COLOURS)
    grey = COLOURS[..., 0]
    write(tmp_path / "b.dcm", grey)
    write(tmp_path / "c.dcm", grey, PhotometricInterpretation="MONOCHROME1")
    wide = grey.astype("<u2")
    write(tmp_path / "d.dcm", grey, BitsAllocated=16, PixelData=wide.tobytes())
    for name, expected in {"b": grey, "c": 255 - grey, "d": grey}.items():
        form, pixels = decoded(read_bytes(tmp_path, f"{name}.dcm"))
        assert form == "PNG" and np.array_equal(pixels, expected), name


def test_palette_colours_are_those_of_the_table(tmp_path: Path):
    indices = np.arange(48, dtype=np.uint8).reshape(6, 8)
    tables = {
        name: np.roll(np.arange(256, dtype="<u2") * 257, shift) for shift, name in enumerate(("Red", "Green", "Blue"))
    }
    attributes = {f"{name}PaletteColorLookupTableDescriptor": [256, 0, 16] for name in tables}
    attributes |= {f"{name}PaletteColorLookupTableData": table.tobytes() for name, table in tables.items()}
    write(tmp_path / "a.dcm", indices, PhotometricInterpretation="PALETTE COLOR", **attributes)
    expected = np.stack([(table >> 8).astype(np.uint8)[indices] for table in tables.values()], axis=-1)
    assert np.array_equal(decoded(read_bytes(tmp_path, "a.dcm"))[1], expected)


def test_frames_are_read_by_number_from_one_on(tmp_path: Path):
    frames = [COLOURS, 255 - COLOURS, np.roll(COLOURS, 1)]
    write(tmp_path / "a.dcm", COLOURS, NumberOfFrames=3, PixelData=b"".join(frame.tobytes() for frame in frames))
    for number, frame in enumerate(frames, 1):
        assert np.array_equal(decoded(read_bytes(tmp_path, f"a.dcm/{number}"))[1], frame)
    for number in ("0", "4", "x", "-1"):
        assert problem_of(tmp_path, f"a.dcm/{number}") == "missing", number
    assert problem_of(tmp_path, "a.dcm") == "unreadable"
    name = "SC_rgb_rle_2frame.dcm"
    (tmp_path / name).write_bytes(file_of(name).read_bytes())
    expected = pydicom.dcmread(tmp_path / name).pixel_array
    assert np.array_equal(decoded(read_bytes(tmp_path, f"{name}/2"))[1], expected[1])


@pytest.mark.parametrize("syntax", [MPEG2MPML, JPEGLSLossless, pydicom.uid.UID("1.2.3.4")])
def test_other_transfer_syntaxes_are_named(tmp_path: Path, syntax):
    dataset = dicom_of(drawn_pixels(0))
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([b"1234"])
    dataset.save_as(tmp_path / "a.dcm", implicit_vr=False, little_endian=True, enforce_file_format=True)
    with pytest.raises(SourceError, match=r"a.dcm: the transfer syntax .* is not read; decompress it with `"):
        read_bytes(tmp_path, "a.dcm")


def test_a_jpeg_2000_in_colours_that_it_does_not_state_is_refused(tmp_path: Path):
    dataset = dicom_of(drawn_pixels(0))
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    dataset.PhotometricInterpretation = "YBR_FULL"
    dataset.PixelData = encapsulate([drawn(0, "JPEG2000")])
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(SourceError, match="states the colours YBR_FULL"):
        read_bytes(tmp_path, "a.dcm")


def test_compressed_runs_give_the_same_pixels(tmp_path: Path):
    dataset = dicom_of(COLOURS)
    dataset.compress(RLELossless)
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert np.array_equal(decoded(read_bytes(tmp_path, "a.dcm"))[1], COLOURS)


def test_files_are_known_by_suffix_or_first_bytes_in_tars_too(tmp_path: Path):
    write_dicom(tmp_path / "set" / "IM0001", drawn_pixels(1))
    write_dicom(tmp_path / "set" / "b.DCM", drawn_pixels(2))
    data = (tmp_path / "set" / "IM0001").read_bytes()
    pack(tmp_path / "set" / "0.tar", {"IM0003": data, "d.dicom": data})
    (tmp_path / "set" / "c.dcm").write_bytes(drawn(5))  # a JPEG with the suffix of DICOM is read as what it is
    root = tmp_path / "set"
    assert list_images(root) == ["0.tar/IM0003", "0.tar/d.dicom", "IM0001", "b.DCM", "c.dcm"]
    for path, place in {"IM0001": 1, "0.tar/IM0003": 1, "0.tar/d.dicom": 1, "b.DCM": 2}.items():
        assert np.array_equal(decoded(read_bytes(root, path))[1], drawn_pixels(place)), path
    assert read_bytes(root, "c.dcm") == drawn(5)
    (root / "empty.dcm").write_bytes(b"")
    assert problem_of(root, "empty.dcm") == "unreadable"
    assert {file.kind for file in list_files(root) if file.path == "IM0001"} == {file_kinds.IMAGE}


def test_chosen_attributes_are_read_and_no_others(tmp_path: Path, monkeypatch):
    file = write_dicom(
        tmp_path / "a.dcm",
        drawn_pixels(1),
        PatientID=" P1 ",
        PatientName="Doe^Jane",
        BodyPartExamined="ARM",
        AnatomicRegionSequence=[{"CodeMeaning": "Skin of forearm"}],
        ImageComments="private words",
    )
    dataset = pydicom.dcmread(file)
    dataset.private_block(0x0011, "ACME", create=True).add_new(1, "LO", "Jane Doe")
    dataset.save_as(file)
    seen = []
    original = pydicom.dcmread
    monkeypatch.setattr(pydicom, "dcmread", lambda *given, **more: seen.append(original(*given, **more)) or seen[-1])
    with file.open("rb") as stream:
        found = read_attributes(stream, ["PatientID", "AnatomicRegionSequence.CodeMeaning", "PatientAge"])
    assert found == {"PatientID": "P1", "AnatomicRegionSequence.CodeMeaning": "Skin of forearm"}
    assert {element.keyword for element in seen[0]} == {"PatientID", "AnatomicRegionSequence"}


def test_umlauts_and_several_values_are_read(tmp_path: Path):
    file = write_dicom(
        tmp_path / "a.dcm",
        drawn_pixels(1),
        SpecificCharacterSet="ISO_IR 192",
        StudyDescription="Nävus",
        ImageType=["ORIGINAL", "PRIMARY"],
    )
    with file.open("rb") as stream:
        found = read_attributes(stream, ["StudyDescription", "ImageType"])
    assert found == {"StudyDescription": "Nävus", "ImageType": "ORIGINAL; PRIMARY"}


def test_keywords_are_those_of_the_standard():
    assert is_keyword("PatientID") and is_keyword("AnatomicRegionSequence.CodeMeaning")
    assert not is_keyword("Befund") and not is_keyword("(0011,1001)") and not is_keyword("")


def test_any_damage_is_a_source_error(tmp_path: Path):
    file = write_dicom(tmp_path / "a.dcm", drawn_pixels(1), PatientID="P1", BodyPartExamined="BACK")
    good, outcomes = file.read_bytes(), set()
    for seed in range(300):
        random, data = Random(seed), bytearray(good)
        for _ in range(random.choice([1, 2, 5, 20])):
            data[random.randrange(len(data))] = random.choice([0, 255, random.randrange(256)])
        data = data if seed % 4 else data[: random.randrange(len(data))]
        file.write_bytes(data)
        for work in (
            lambda: read_bytes(tmp_path, "a.dcm"),
            lambda data=data: read_attributes(io.BytesIO(data), ["PatientID"]),
        ):
            try:
                work()
                outcomes.add("read")
            except SourceError as error:
                assert str(tmp_path) not in str(error)
                outcomes.add("refused")
    assert outcomes == {"read", "refused"}
