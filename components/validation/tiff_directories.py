"""The directories of a TIFF file: where the image ends, how many pages it has, which kinds of metadata it carries.

PIL decodes one page and does not report bytes after the last one, so every directory is followed (TIFF 6.0, section 2).
"""

from __future__ import annotations

import struct
from typing import Literal

from components.validation.image_header import EXIF_IFD, GPS_IFD, xmp_kinds

_TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}  # bytes a value
_MAX_IFDS = 4096  # a longer chain is a loop or no image
# Tags that hold text: description, make, model, software, date, artist, host, copyright, names of page or file
_TEXT_TAGS = frozenset({269, 270, 271, 272, 285, 305, 306, 315, 316, 33432})


class TiffDirectories:
    """Totals over all directories of a TIFF file.

    Attributes:
        end: the furthest byte that any directory points to.
        pages: number of images, thumbnails and masks not counted.
        metadata: kinds of metadata, of METADATA_KINDS.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._order: Literal["<", ">"] = "<" if data.startswith(b"II") else ">"
        self.end, self.pages, self.metadata = 8, 0, set[str]()
        self._seen: set[int] = set()
        at: int = struct.unpack_from(f"{self._order}I", data, 4)[0]
        while at and at not in self._seen and len(self._seen) < _MAX_IFDS:
            at = self._directory(at, page=True)

    def _directory(self, at: int, *, page: bool) -> int:
        """Read one directory; return the offset of the next, 0 for none."""
        self._seen.add(at)
        (count,) = struct.unpack_from(f"{self._order}H", self._data, at)
        tags = {}
        for number in range(count):
            tag, kind, length, value = struct.unpack_from(f"{self._order}HHII", self._data, at + 2 + 12 * number)
            size = _TIFF_SIZES.get(kind, 1) * length
            place = value if size > 4 else at + 2 + 12 * number + 8
            self._reach(place + size)
            tags[tag] = (kind, length, place)
        self._follow(tags)
        if page and not self._numbers(tags, 254, (0,))[0] & 0b101:  # bit 0: a thumbnail, bit 2: a mask
            self.pages += 1
        self._reach(at + 2 + 12 * count + 4)
        (following,) = struct.unpack_from(f"{self._order}I", self._data, at + 2 + 12 * count)
        return int(following)

    def _follow(self, tags: dict[int, tuple[int, int, int]]) -> None:
        for places, sizes in ((273, 279), (324, 325), (513, 514)):  # strips, tiles, old JPEG
            for place, size in zip(self._numbers(tags, places), self._numbers(tags, sizes), strict=False):
                self._reach(place + size)
        for tag in (330, EXIF_IFD, GPS_IFD, 0xA005):  # directories within
            for place in self._numbers(tags, tag):
                if place and place not in self._seen and len(self._seen) < _MAX_IFDS:
                    self._directory(place, page=False)
        self.metadata |= {"text"} if tags.keys() & _TEXT_TAGS else set()
        self.metadata |= {"exif"} if EXIF_IFD in tags else set()
        self.metadata |= {"iptc"} if tags.keys() & {33723, 34377} else set()
        if 700 in tags:
            _, length, place = tags[700]
            self.metadata |= xmp_kinds(self._data[place : place + length])

    def _numbers(
        self, tags: dict[int, tuple[int, int, int]], tag: int, default: tuple[int, ...] = ()
    ) -> tuple[int, ...]:
        kind, length, place = tags.get(tag, (0, 0, 0))
        if kind not in (3, 4, 13) or length == 0:
            return default
        letter = "H" if kind == 3 else "I"
        return struct.unpack_from(f"{self._order}{length}{letter}", self._data, place)

    def _reach(self, end: int) -> None:
        self.end = max(self.end, end)
