"""The same picture twice: identical files by their bytes, altered copies by a hash and then by their pixels.

A copy may be smaller, recompressed, brighter, turned, mirrored and cropped. Its hash proposes it (`perceptual`,
`neighbours`), under all eight turns and sixteen crops; then the two pictures are laid over each other and must agree in
their detail, since two vignettes, two blank images or two round lesions have the same coarse shape. Groups are what
chains of pairs connect: if A is a copy of B and B of C, all three are one group, whether or not A resembles C.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from components.data.sources import read_bytes
from components.validation.neighbours import pairs_between, pairs_within
from components.validation.perceptual_hash import TURNS, WINDOWS, Hashes, Pixels, crop_hashes, turn_pixels, turned
from components.validation.scan import decode

Plane = np.ndarray[Any, np.dtype[np.float32]]

COLUMNS = ("first", "second", "distance", "turn", "correlation")

# Chosen on 10,015 images of HAM10000 and planted copies of them; measured in tests/unit/validation/test_duplicates.py.
DISTANCE = 7  # bits
DETAIL = 0.77  # see `Agreement`: 0.8 and more in 99 % of the copies of each kind, at most 0.74 in other pictures
CORRELATION = 0.9  # 0.95 and more in 99 % of the copies
PROMISE = 0.65  # of a first, linear look: nine in ten candidates that are no copies end there
TRIES = 3  # turns and windows of one pair that are looked at, nearest hash first

SIDE = 64  # pixels of the squares that are laid over each other
STEPS = 5  # of Gauss-Newton; a start is at most 2.5 % of the side away
FAINT = 0.3  # grey levels; detail weaker than that is noise, and confirms nothing
NOISE = 1.0  # grey levels; detail counts in full where it is stronger
SHIFTED = 0.2  # of the side; a frame that has to move further is no copy
SHADE = 0.5  # of the median; the darker rim of a picture is the instrument's, not the skin's
LEAST = 0.3  # of the square; less of it in both pictures confirms nothing
TASK = 64  # candidates that a worker takes at a time

KEYS = ("label", "patient_id", "lesion_id")  # what one picture has one of


@dataclass(frozen=True)
class Candidate:
    """`second` after `turn` may be the part of `first` inside `window`; both are paths."""

    first: str
    second: str
    turn: str
    window: tuple[float, float, float, float]  # share cut off at top, bottom, left, right


@dataclass(frozen=True)
class Agreement:
    """How alike two pictures are once one lies over the other."""

    correlation: float  # of their luma, in [-1, 1]
    detail: float  # of what is finer than a tenth of the side, contrast made equal everywhere, in [-1, 1]


UNLIKE = Agreement(-1.0, -1.0)


@dataclass(frozen=True)
class Settled:
    """What an earlier search knows: the sha256 of every file in it, and its pairs with sha256 instead of image_id."""

    files: frozenset[str]
    pairs: pd.DataFrame  # COLUMNS

    @classmethod
    def of(cls, table: pd.DataFrame, pairs: pd.DataFrame) -> Settled:
        """From the table and the result of `find`."""
        content = table.set_index("image_id")["sha256"]
        by_content = pairs.assign(first=pairs["first"].map(content), second=pairs["second"].map(content))
        return cls(frozenset(table.dropna(subset=["phash"])["sha256"]), by_content)

    @classmethod
    def from_table(cls, table: pd.DataFrame) -> Settled:
        """What `to_table` was called on."""
        alone = table["second"].isna()
        return cls(frozenset(table.loc[alone, "first"]), table[~alone].astype({"distance": "int64"}))

    def to_table(self) -> pd.DataFrame:
        """COLUMNS: a row for each file, `first`, with nothing in the others, and one for each pair."""
        files = pd.DataFrame({"first": sorted(self.files)}, columns=list(COLUMNS))
        kinds = {"first": "str", "second": "str", "distance": "Int64", "turn": "str", "correlation": "float64"}
        return pd.concat([files.astype(kinds), self.pairs.astype(kinds)], ignore_index=True)

    def named(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The pairs whose files are both among `rows`, by image_id."""
        name = rows.set_index("sha256")["image_id"]
        pairs = self.pairs[self.pairs["first"].isin(name.index) & self.pairs["second"].isin(name.index)]
        return _ordered(pairs.assign(first=pairs["first"].map(name), second=pairs["second"].map(name)))


def find(
    table: pd.DataFrame,
    root: Path,
    distance: int = DISTANCE,
    executor: Executor | None = None,
    crops: bool = True,
    settled: Settled | None = None,
) -> pd.DataFrame:
    """The pairs of rows that show one picture, COLUMNS, first < second, sorted; identical files are left out.

    `table` has image_id, path, sha256 and phash, one row an image; `crop_hashes` (16 * 8 bytes, little-endian) if
    it is there, else the images are read for them. Without `crops` only copies with the whole picture are found.
    Of more than `neighbours.COPIES` images of one hash each is compared with the first of them alone. What an earlier
    search with the same settings has `settled` is not looked at again.
    """
    rows = table.dropna(subset=["phash"]).sort_values("image_id", kind="stable")
    rows = rows.drop_duplicates("sha256").reset_index(drop=True)
    if settled is not None and rows["sha256"].isin(settled.files).all():
        return _sorted(settled.named(rows))
    hashes = rows["phash"].to_numpy(np.uint64)
    cropped = _crop_hashes(rows, root, executor) if crops else np.zeros((len(rows), 0), np.uint64)
    proposed = propose(hashes, cropped, distance)
    if settled is not None:
        seen = rows["sha256"].isin(settled.files).to_numpy()
        proposed = proposed[~(seen[proposed["low"]] & seen[proposed["high"]])]
    found = _named(confirm(proposed, rows["path"].tolist(), root, executor), rows["image_id"].to_numpy())
    return found if settled is None else _sorted(pd.concat([found, settled.named(rows)]))


def propose(hashes: Hashes, cropped: Hashes, distance: int) -> pd.DataFrame:
    """first, second (rows), turn, window, distance: what hashes say, at most TRIES a pair, the nearest first.

    `hashes` is (N,), `cropped` (N, 16) or (N, 0). window -1 is the whole of `first`.
    """
    # rot270 finds what rot90 finds, in the other order
    whole = [_whole(hashes, turn, distance) for turn in TURNS if turn != "rot270"]
    parts = [_part(hashes, cropped, turn, distance) for turn in TURNS] if cropped.size else []
    table = pd.concat([*whole, *parts], ignore_index=True)
    low, high = table[["first", "second"]].min(axis=1), table[["first", "second"]].max(axis=1)
    table = table.assign(low=low, high=high).sort_values(["low", "high", "distance"], kind="stable")
    return table[table.groupby(["low", "high"]).cumcount() < TRIES].reset_index(drop=True)


def _whole(hashes: Hashes, turn: str, distance: int) -> pd.DataFrame:
    """Pairs of whole pictures; a turn that undoes itself finds each twice, once in either order."""
    if turn == "identity":
        near = pairs_within(hashes, distance)
        return _proposal(near.first, near.second, near.distance, turn, -1)
    near = pairs_between(hashes, turned(hashes, turn), distance)
    wanted = near.first != near.second if turn == "rot90" else near.first < near.second
    return _proposal(near.first[wanted], near.second[wanted], near.distance[wanted], turn, -1)


def _part(hashes: Hashes, cropped: Hashes, turn: str, distance: int) -> pd.DataFrame:
    """Pairs of a part of the first and the whole of the second."""
    near = pairs_between(cropped.ravel(), turned(hashes, turn), distance)
    first, window = np.divmod(near.first, cropped.shape[1])
    wanted = first != near.second
    return _proposal(first[wanted], near.second[wanted], near.distance[wanted], turn, window[wanted])


def _proposal(first: Any, second: Any, distance: Any, turn: str, window: Any) -> pd.DataFrame:
    place = TURNS.index(turn)
    frame = {"first": first, "second": second, "distance": distance, "turn": np.int8(place), "window": window}
    return pd.DataFrame(frame).astype({"window": "int8", "distance": "int16"})


def confirm(proposed: pd.DataFrame, paths: Sequence[str], root: Path, executor: Executor | None) -> pd.DataFrame:
    """The proposals that the pixels confirm, one a pair, with `correlation`; the best of its turns and windows."""
    pairs = zip(*(proposed[name].tolist() for name in ("first", "second", "turn", "window")), strict=True)
    candidates = [
        Candidate(paths[a], paths[b], TURNS[turn], WINDOWS[window] if window >= 0 else (0, 0, 0, 0))
        for a, b, turn, window in pairs
    ]
    tasks = [candidates[begin : begin + TASK] for begin in range(0, len(candidates), TASK)]
    compare = partial(_compare_all, root)
    results: Iterable[list[Agreement]] = map(compare, tasks) if executor is None else executor.map(compare, tasks)
    agreements = [agreement for chunk in results for agreement in chunk]
    found = proposed.assign(
        correlation=np.array([each.correlation for each in agreements], np.float64),
        detail=np.array([each.detail for each in agreements], np.float64),
    )
    found = found[(found["detail"] >= DETAIL) & (found["correlation"] >= CORRELATION)]
    best = found.sort_values(["low", "high", "detail"], ascending=[True, True, False], kind="stable")
    return best.drop_duplicates(["low", "high"])


def _compare_all(root: Path, candidates: Sequence[Candidate]) -> list[Agreement]:
    return [compare(root, candidate) for candidate in candidates]


def compare(root: Path, candidate: Candidate) -> Agreement:
    """How alike the two files of a candidate are, once laid over each other."""
    moving, fixed = _square(root, candidate.first), _square(root, candidate.second)
    return agree(moving, turn_pixels(fixed, candidate.turn), candidate.window)


@lru_cache(maxsize=16_384)  # 4 kB each
def _square(root: Path, path: str) -> Pixels:
    """An image's luma, (SIDE, SIDE): without its aspect, as the hash saw it."""
    return shrink(decode(read_bytes(root, path), "GRAY")[1])


def shrink(luma: Pixels) -> Pixels:
    """(H, W) to (SIDE, SIDE)."""
    return np.asarray(cv2.resize(luma, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def agree(moving: Pixels, fixed: Pixels, window: tuple[float, float, float, float]) -> Agreement:
    """Lay the part of `moving` inside `window` over `fixed`, both (SIDE, SIDE), and correlate them."""
    whole, target = moving.astype(np.float32), np.ascontiguousarray(fixed, np.float32)
    frame = _frame(window)
    if _promise(whole, target, frame) < PROMISE:
        return UNLIKE
    settled = _register(whole, target, frame)
    seen = _inside(settled)
    if np.abs(settled - frame).max() > SHIFTED:
        return UNLIKE
    laid = _sample(whole, settled)
    skin = seen & ~_rim(laid) & ~_rim(target)
    if skin.mean() < LEAST:
        return UNLIKE
    return Agreement(_correlation(laid[seen], target[seen]), _detail_agreement(laid, target, skin))


def _promise(whole: Plane, target: Plane, frame: Plane) -> float:
    """How well a linear step from `frame` could make the details alike: the multiple correlation, on halved pictures.

    The target's detail is fitted by the part's, and by what a small shift or scale along each axis adds to it.
    """
    halved = (SIDE // 2, SIDE // 2)
    small, aim = (
        np.asarray(cv2.resize(one, halved, interpolation=cv2.INTER_AREA), np.float32) for one in (whole, target)
    )
    part, goal = (_band(image, 1.0, 2.0) for image in (_sample(small, frame), aim))
    weight = 1 / (_strength(goal, 3.0) + NOISE)
    slope_x, slope_y = cv2.Sobel(part, cv2.CV_32F, 1, 0), cv2.Sobel(part, cv2.CV_32F, 0, 1)
    columns = [part, slope_x, slope_y, slope_x * _X[::2, ::2], slope_y * _Y[::2, ::2]]
    design = (np.stack(columns) * weight).reshape(5, -1)
    design, wanted = design - design.mean(axis=1, keepdims=True), (goal * weight).ravel()
    wanted = wanted - wanted.mean()
    normal, along = design @ design.T, design @ wanted
    normal[np.diag_indices(5)] = normal.diagonal() * 1.0001 + 1e-6  # a picture without detail explains nothing
    return float(np.sqrt(max(along @ np.linalg.solve(normal, along), 0.0) / (wanted @ wanted + 1e-6)))


def _rim(image: Plane) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """The dark that touches the border, and what is near it: a vignette is alike in all of an instrument's pictures."""
    dark = (image < SHADE * np.median(image)).astype(np.uint8)
    parts = cv2.connectedComponents(dark)[1]
    outer = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    rim = np.isin(parts, outer[outer > 0])
    return np.asarray(cv2.dilate(rim.astype(np.uint8), np.ones((7, 7), np.uint8)), bool)


def _frame(window: tuple[float, float, float, float]) -> Plane:
    """(scale x, shift x, scale y, shift y), shifts in sides: where a point of the part lies in the whole."""
    top, bottom, left, right = window
    return np.array([1 - left - right, left, 1 - top - bottom, top], np.float32)


_CENTRES = ((np.arange(SIDE) + 0.5) / SIDE).astype(np.float32)
_X, _Y = np.meshgrid(_CENTRES, _CENTRES)


def _sample(whole: Plane, frame: Plane) -> Plane:
    """The part of `whole` that a frame shows, in as many pixels; beyond its border the border goes on."""
    scale_x, shift_x, scale_y, shift_y = (float(value) for value in frame)
    side = len(whole)
    # a pixel's centre lies half a pixel behind its corner
    move_x = side * shift_x + (scale_x - 1) / 2
    move_y = side * shift_y + (scale_y - 1) / 2
    affine = np.array([[scale_x, 0, move_x], [0, scale_y, move_y]], np.float64)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(whole, affine, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE))


def _inside(frame: Plane) -> np.ndarray[Any, np.dtype[np.bool_]]:
    x, y = frame[0] * _X + frame[1], frame[2] * _Y + frame[3]
    return np.asarray((x > 0) & (x < 1) & (y > 0) & (y < 1))


def _register(whole: Plane, target: Plane, frame: Plane) -> Plane:
    """The frame moved by Gauss-Newton until the part fits the target (Lucas & Kanade 1981), with gain and offset."""
    smooth = [np.asarray(cv2.GaussianBlur(image, (0, 0), 1.5), np.float32) for image in (whole, target)]
    for _ in range(STEPS):
        part = _sample(smooth[0], frame)
        slope_x, slope_y = (
            np.asarray(cv2.Scharr(part, cv2.CV_32F, *axis), np.float32) / 32 * SIDE for axis in ((1, 0), (0, 1))
        )
        seen = _inside(frame)
        slopes = np.stack([slope_x * _X, slope_x, slope_y * _Y, slope_y, part, np.ones_like(part)])
        design = (slopes * seen).reshape(6, -1)
        normal = design @ design.T
        normal[np.diag_indices(6)] *= 1 + 1e-4  # a picture without slopes stays where it is
        normal[np.diag_indices(6)] += 1e-3
        solved = np.linalg.solve(normal, design @ (smooth[1] * seen).ravel())
        gain = max(float(solved[4]), 0.1)
        # slopes are by the part's own pixels: a step in the whole is as much smaller as the part is
        frame = np.asarray(frame + solved[:4] / gain * frame[[0, 0, 2, 2]], np.float32)
        if np.abs(frame).max() > 2:
            break
    return frame


def _detail_agreement(a: Plane, b: Plane, skin: Any) -> float:
    """The correlation of both pictures' detail; -1 where one of them has next to none."""
    bands = [_band(image, 0.8, 2.0) for image in (a, b)]
    if min(float(np.abs(band[skin]).mean()) for band in bands) < FAINT:
        return -1.0
    first, second = (band / (_strength(band, 4.0) + NOISE) for band in bands)
    return _correlation(first[skin], second[skin])


def _band(image: Plane, fine: float, coarse: float) -> Plane:
    """What is coarser than recompression's noise and finer than a lesion's outline; standard deviations in pixels."""
    blurred = [np.asarray(cv2.GaussianBlur(image, (0, 0), width)) for width in (fine, coarse)]
    return np.asarray(blurred[0] - blurred[1])


def _strength(band: Plane, width: float) -> Plane:
    """How strong it is around each place: a strong edge must not outweigh the skin."""
    return np.sqrt(np.maximum(np.asarray(cv2.GaussianBlur(band * band, (0, 0), width)), 0))


def _correlation(a: Plane, b: Plane) -> float:
    """Pearson's; 0 where one of the two is constant."""
    first, second = a.ravel() - a.mean(), b.ravel() - b.mean()
    scale = float(np.sqrt((first @ first) * (second @ second)))
    return float(first @ second) / scale if scale > 1e-6 else 0.0


def _crop_hashes(rows: pd.DataFrame, root: Path, executor: Executor | None) -> Hashes:
    """(N, 16), from the table or else from the images."""
    if "crop_hashes" in rows:
        return np.frombuffer(b"".join(rows["crop_hashes"]), "<u8").reshape(-1, len(WINDOWS)).astype(np.uint64)
    read = partial(_read_crop_hashes, root)
    paths = rows["path"].tolist()
    found = map(read, paths) if executor is None else executor.map(read, paths, chunksize=TASK)
    return np.array(list(found), np.uint64).reshape(-1, len(WINDOWS))


def _read_crop_hashes(root: Path, path: str) -> Hashes:
    return crop_hashes(_square(root, path))


def _named(found: pd.DataFrame, names: Any) -> pd.DataFrame:
    """Rows as image_ids."""
    table = pd.DataFrame(
        {
            "first": names[found["first"].to_numpy(np.int64)],
            "second": names[found["second"].to_numpy(np.int64)],
            "distance": found["distance"].to_numpy(np.int64),
            "turn": np.array(TURNS, object)[found["turn"].to_numpy(np.int64)],
            "correlation": found["correlation"].to_numpy(np.float64),
        }
    )
    return _sorted(_ordered(table.astype({"first": "str", "second": "str", "turn": "str"})))


def _ordered(pairs: pd.DataFrame) -> pd.DataFrame:
    """The smaller name is `first`; `turn` makes the second like the first, so it is undone where they change places."""
    swap = pairs["first"] > pairs["second"]
    undone = pairs["turn"].replace({"rot90": "rot270", "rot270": "rot90"})
    first = pairs["first"].where(~swap, pairs["second"])
    second = pairs["second"].where(~swap, pairs["first"])
    return pairs.assign(first=first, second=second, turn=pairs["turn"].where(~swap, undone))


def _sorted(pairs: pd.DataFrame) -> pd.DataFrame:
    return pairs.sort_values(["first", "second"], kind="stable", ignore_index=True)


def name_groups(table: pd.DataFrame, pairs: pd.DataFrame) -> pd.Series:
    """Each row's group of identical files and confirmed pairs: its smallest image_id, null for a row alone.

    `table` has image_id and sha256; the result has its index.
    """
    names = table["image_id"].to_numpy(object)
    place = {name: row for row, name in enumerate(names)}
    first_of = table.groupby("sha256", sort=False)["image_id"].transform("first")
    same = zip(table.loc[first_of.notna(), "image_id"], first_of.dropna(), strict=True)
    links = [*same, *zip(pairs["first"], pairs["second"], strict=True)]
    parent = list(range(len(names)))
    for one, other in links:
        a, b = _root(parent, place[one]), _root(parent, place[other])
        low, high = (a, b) if names[a] <= names[b] else (b, a)  # the root is the smallest name
        parent[high] = low
    group = pd.Series([names[_root(parent, row)] for row in range(len(names))], index=table.index, dtype="str")
    return group.where(group.duplicated(keep=False))


def _root(parent: list[int], row: int) -> int:
    while parent[row] != row:
        parent[row] = parent[parent[row]]
        row = parent[row]
    return row


def review(table: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """The pairs whose label, patient or lesion differ: COLUMNS, `differs` and both values of each; sorted.

    One picture cannot show two patients or two lesions, nor have two diagnoses: a person must look. What is
    missing on one side contradicts nobody. Pairs of identical files are no rows of `pairs`: `identical_pairs`.
    """
    known = table.set_index("image_id")[list(KEYS)]
    sides = [known.reindex(pairs[side]).reset_index(drop=True) for side in ("first", "second")]
    unlike = sides[0].notna() & sides[1].notna() & (sides[0] != sides[1])
    differs = [", ".join(name for name in KEYS if row[name]) for row in unlike.to_dict("records")]
    values = [sides[k].add_prefix(f"{side}_") for k, side in enumerate(("first", "second"))]
    joined = pd.concat([pairs.reset_index(drop=True), *values], axis=1)
    joined.insert(len(COLUMNS), "differs", pd.Series(differs, dtype="str"))
    return joined[unlike.any(axis=1)].sort_values(["first", "second"], kind="stable", ignore_index=True)


def identical_pairs(table: pd.DataFrame) -> pd.DataFrame:
    """Identical files as pairs of `find`'s columns: each with the first of its bytes, sorted."""
    rows = exact_groups(table)
    first = rows.groupby("sha256")["image_id"].transform("min")
    later = rows["image_id"] != first
    frame = pd.DataFrame({"first": first[later], "second": rows.loc[later, "image_id"]})
    frame = frame.assign(distance=0, turn="identity", correlation=1.0)
    return frame.astype({"turn": "str"}).sort_values(["first", "second"], ignore_index=True)


def exact_groups(table: pd.DataFrame) -> pd.DataFrame:
    """The rows whose file another row shares, sorted by sha256 and image_id; needs both columns.

    The same picture under two lesions stays as well: `splits` keeps equal bytes in one group whatever the
    metadata say, so such a pair costs a little variety and leaks nothing.
    """
    repeated = table["sha256"].notna() & table["sha256"].duplicated(keep=False)
    return table[repeated].sort_values(["sha256", "image_id"], kind="stable")


def contradictions(table: pd.DataFrame) -> pd.DataFrame:
    """The rows whose file has another label elsewhere, and `other`: those image_ids with their labels.

    No rule can tell which label is right, so none of them is kept; a copy without a label contradicts nobody.
    """
    labelled = exact_groups(table).dropna(subset=["label"])
    found = labelled[labelled.groupby("sha256")["label"].transform("nunique") > 1]
    copies = {str(sha256): rows for sha256, rows in found.groupby("sha256")}
    pairs = zip(found["sha256"], found["label"], strict=True)
    others = [_others(copies[sha256], label) for sha256, label in pairs]
    return found.assign(other=pd.Series(others, index=found.index, dtype="str"))


def _others(copies: pd.DataFrame, label: str) -> str:
    """`ISIC_2 (nv), ISIC_3 (bcc)`: the copies with another label."""
    rivals = copies[copies["label"] != label]
    return ", ".join(f"{name} ({word})" for name, word in zip(rivals["image_id"], rivals["label"], strict=True))
