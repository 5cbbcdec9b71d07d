"""A PNG whose stream ends early is corrupt, whatever its checksums say; all kinds are counted right."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from components.validation.image_facts import decode, read_facts
from components.validation.image_header import UndecodableError
from components.validation.png_stream import count_bytes


def build(width: int, height: int, rows: bytes, bits: int = 8, colour: int = 2, interlaced: int = 0) -> bytes:
    """A PNG with right checksums and any content."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)
    blocks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    packed = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in blocks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


ROW = b"\0" + bytes(range(192))


def test_all_rows_are_an_image() -> None:
    assert decode(build(64, 64, ROW * 64))[1].shape == (64, 64, 3)


@pytest.mark.parametrize("rows", [ROW, ROW * 63, ROW * 64 + b"\0", ROW * 64 * 50, ROW * 63 + ROW[:-1], b""])
def test_fewer_or_more_bytes_than_stated_are_corrupt(rows: bytes) -> None:
    data = build(64, 64, rows)
    with pytest.raises(UndecodableError) as caught:
        decode(data)
    assert caught.value.problem == "corrupt"
    assert read_facts(data)["problem"] == "corrupt"


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"])
@pytest.mark.parametrize("size", [(1, 1), (7, 3), (33, 20)])
def test_every_kind_that_pillow_writes_is_counted_right(mode: str, size: tuple[int, int]) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (size[1], size[0]), dtype=np.uint8)
    image = Image.fromarray(grey.astype(np.uint16)) if mode == "I;16" else Image.fromarray(grey).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    decode(buffer.getvalue())


@pytest.mark.parametrize(("width", "height"), [(1, 1), (2, 5), (8, 8), (13, 11), (64, 1)])
@pytest.mark.parametrize(("bits", "colour"), [(1, 0), (8, 2), (16, 6), (4, 3)])
def test_the_passes_of_an_interlaced_image_hold_every_pixel_once(
    width: int, height: int, bits: int, colour: int
) -> None:
    """Counted pixel by pixel, from the pattern that the standard prints."""
    pattern = np.array([
        [1, 6, 4, 6, 2, 6, 4, 6], [7] * 8, [5, 6, 5, 6, 5, 6, 5, 6], [7] * 8,
        [3, 6, 4, 6, 3, 6, 4, 6], [7] * 8, [5, 6, 5, 6, 5, 6, 5, 6], [7] * 8,
    ])  # fmt: skip
    whole = np.tile(pattern, (height // 8 + 1, width // 8 + 1))[:height, :width]
    channels = {0: 1, 2: 3, 3: 1, 6: 4}[colour]
    expected = 0
    for number in range(1, 8):
        rows = [int((row == number).sum()) for row in whole]
        expected += sum(1 + (count * bits * channels + 7) // 8 for count in rows if count)
    assert count_bytes(build(width, height, b"", bits, colour, 1)) == expected
