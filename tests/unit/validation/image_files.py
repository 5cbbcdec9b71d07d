"""Files that are broken or odd in known ways, each named, and clean ones of every kind that cameras write."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, TiffImagePlugin
from PIL.PngImagePlugin import PngInfo

Array = np.ndarray


def photograph(side: int = 64, seed: int = 0) -> Image.Image:
    """A smooth picture that JPEG keeps nearly as it is."""
    rough = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(rough).resize((side + 16, side), Image.Resampling.BICUBIC)


def noise(side: int = 200) -> Image.Image:
    """A picture whose JPEG has many coded bytes."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8))


def encode(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def rgb16_png() -> bytes:
    """Sixteen bits a channel, which PIL can read but not write."""
    pixels = np.asarray(photograph(), dtype=">u2") * 257
    rows = b"".join(b"\0" + row.tobytes() for row in pixels.astype(">u2"))
    header = struct.pack(">IIBBBBB", 80, 64, 16, 2, 0, 0, 0)
    body = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def overwrite(data: bytes, share: float, new: bytes) -> bytes:
    at = int(len(data) * share)
    return data[:at] + new + data[at + len(new) :]


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def resized_header(jpeg: bytes, side: int) -> bytes:
    """The same JPEG, claiming to be `side` x `side`."""
    frame = jpeg.index(b"\xff\xc0")  # start of frame: length, precision, height, width
    return jpeg[: frame + 5] + side.to_bytes(2, "big") * 2 + jpeg[frame + 9 :]


def bad_files() -> dict[str, tuple[bytes, str]]:
    """Name -> content and the problem it must be given."""
    picture, grey = photograph(), photograph().convert("L")
    equal = Image.merge("RGB", [grey] * 3)
    jpeg, png, bmp, tiff = (encode(picture, form) for form in ("JPEG", "PNG", "BMP", "TIFF"))
    webp, big = encode(picture, "WEBP"), encode(noise(), "JPEG", quality=90)
    lossless = encode(noise(), "WEBP", lossless=True)
    clear = picture.convert("RGBA")
    clear.putpixel((3, 4), (10, 20, 30, 0))
    pages = [photograph(seed=seed) for seed in (1, 2, 3)]
    palette = picture.convert("P", palette=Image.Palette.ADAPTIVE)
    rare = {suffix: encode(noise(), form) for suffix, form in RARE.items()}
    gif = encode(pages[0], "GIF", save_all=True, append_images=pages[1:])
    moving_avif = encode(pages[0], "AVIF", save_all=True, append_images=pages[1:])
    deep_pgm = b"P5\n# made by hand\n20 10\n65535\n" + np.arange(200, dtype=">u2").tobytes()
    return {
        **{f"truncated_30.{suffix}": (data[: len(data) * 3 // 10], "corrupt") for suffix, data in rare.items()},
        **{f"truncated_95.{suffix}": (data[: len(data) * 95 // 100], "corrupt") for suffix, data in rare.items()},
        **{
            f"without_its_last_byte.{suffix}": (data[:-1], "corrupt")
            for suffix, data in rare.items()
            if suffix != "tga"
        },
        **{f"zeroed_blocks.{suffix}": (overwrite(rare[suffix], 0.4, bytes(8192)), "corrupt") for suffix in CODED},
        **{f"text_behind.{suffix}": (rare[suffix] + b"Jane Roe", "trailing_bytes") for suffix in BOUNDED},
        "moving.gif": (gif, "animated"),
        "moving.avif": (moving_avif, "animated"),
        "deep.pgm": (deep_pgm, "sixteen_bit"),
        "black_and_white.pbm": (encode(grey.convert("1"), "PPM"), "grey"),
        "grey.tga": (encode(grey, "TGA"), "grey"),
        "clear.tga": (encode(clear, "TGA"), "alpha"),
        "clear.jp2": (encode(clear, "JPEG2000"), "alpha"),
        # stops early
        "header_only.jpg": (jpeg[:100], "corrupt"),
        "truncated_30.jpg": (jpeg[: len(jpeg) * 3 // 10], "corrupt"),
        "truncated_70.jpg": (big[: len(big) * 7 // 10], "corrupt"),
        "without_its_last_byte.jpg": (jpeg[:-1], "corrupt"),
        "without_its_end_marker.jpg": (big[:-2], "corrupt"),
        "truncated_progressive.jpg": (encode(noise(), "JPEG", progressive=True)[:-3000], "corrupt"),
        "truncated_cmyk.jpg": (encode(noise().convert("CMYK"), "JPEG")[:-5000], "corrupt"),
        "truncated.png": (png[: len(png) // 2], "corrupt"),
        "without_its_end_chunk.png": (png[:-12], "corrupt"),
        "truncated.bmp": (bmp[:-1], "corrupt"),
        "truncated.tiff": (tiff[: len(tiff) // 2], "corrupt"),
        "truncated.webp": (webp[:-2], "corrupt"),
        # damaged in the middle
        "zeroed_300_bytes.jpg": (overwrite(big, 0.5, bytes(300)), "corrupt"),
        "zeroed_block.jpg": (overwrite(big, 0.3, bytes(4096)), "corrupt"),
        "zeroed_tail.jpg": (big[: len(big) // 2] + bytes(len(big) - len(big) // 2), "corrupt"),
        "zeroed_block.png": (overwrite(encode(noise(), "PNG"), 0.5, bytes(512)), "corrupt"),
        "zeroed_block.webp": (overwrite(encode(noise(), "WEBP", quality=95), 0.5, bytes(1024)), "corrupt"),
        "zeroed_block_lossless.webp": (overwrite(lossless, 0.5, bytes(1024)), "corrupt"),
        "flipped_bit.png": (flip(png, png.index(b"IDAT") + 40), "corrupt"),
        "flipped_bit_stored.png": (
            flip(encode(picture, "PNG", compress_level=0), 5000),
            "corrupt",
        ),
        "flipped_bit_palette.png": (flip(encode(palette, "PNG"), 60), "corrupt"),
        # more than the image
        "text_behind.jpg": (jpeg + b"Patient: Jane Roe", "trailing_bytes"),
        "second_image_behind.jpg": (jpeg + jpeg, "trailing_bytes"),
        "zip_behind.png": (png + b"PK\3\4" + bytes(100), "trailing_bytes"),
        "text_behind.bmp": (bmp + b"Jane Roe", "trailing_bytes"),
        "text_behind.webp": (webp + b"Jane Roe", "trailing_bytes"),
        "text_behind.tiff": (tiff + b"Jane Roe", "trailing_bytes"),
        # another name than the content's
        "really_a_jpeg.png": (jpeg, "wrong_extension"),
        "really_a_png.jpg": (png, "wrong_extension"),
        "really_a_webp.jpeg": (webp, "wrong_extension"),
        # not what a camera writes
        "inks.jpg": (encode(picture.convert("CMYK"), "JPEG"), "cmyk"),
        "inks.tiff": (encode(picture.convert("CMYK"), "TIFF"), "cmyk"),
        "deep_grey.png": (encode(Image.fromarray(np.asarray(grey, np.uint16) * 257), "PNG"), "sixteen_bit"),
        "deep_colour.png": (rgb16_png(), "sixteen_bit"),
        "deep.tiff": (encode(Image.fromarray(np.asarray(grey, np.uint16) * 257), "TIFF"), "sixteen_bit"),
        "measurements.tiff": (encode(Image.fromarray(np.asarray(grey, np.float32)), "TIFF"), "not_an_image"),
        "grey.jpg": (encode(grey, "JPEG"), "grey"),
        "grey.png": (encode(grey, "PNG"), "grey"),
        "black_and_white.png": (encode(grey.convert("1"), "PNG"), "grey"),
        "equal_channels.jpg": (encode(equal, "JPEG"), "grey"),
        "equal_channels.png": (encode(equal, "PNG"), "grey"),
        "moving.png": (encode(pages[0], "PNG", save_all=True, append_images=pages[1:]), "animated"),
        "moving.webp": (encode(pages[0], "WEBP", save_all=True, append_images=pages[1:]), "animated"),
        "pages.tiff": (encode(pages[0], "TIFF", save_all=True, append_images=pages[1:]), "animated"),
        "one_clear_pixel.png": (encode(clear, "PNG"), "alpha"),
        "one_clear_pixel.webp": (encode(clear, "WEBP", lossless=True), "alpha"),
        "clear_colour.png": (encode(palette, "PNG", transparency=palette.getpixel((0, 0))), "alpha"),
        # no image
        "empty.jpg": (b"", "empty"),
        "letter.jpg": (b"dear colleague, here is the image", "not_an_image"),
        "error_page.jpg": (b"<!DOCTYPE html><html><body>404 Not Found</body></html>", "not_an_image"),
        "drawing.png": (b'<svg xmlns="http://www.w3.org/2000/svg"><circle r="9"/></svg>', "unread_format"),
        "program.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", "unread_format"),
        "document.jpg": (b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n", "not_an_image"),
        "radiology.jpg": (bytes(128) + b"DICM" + bytes(200), "unreadable"),  # a DICOM file without an image
        "phone.heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200), "unread_format"),
        "phone.jpg": (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(200), "unread_format"),
        "camera.nef": (tiff, "unread_format"),  # the container of raw data, with a preview
        "camera.cr2": (b"II*\0\x10\0\0\0CR\2\0" + bytes(100), "unread_format"),
        "layers.psd": (b"8BPS\0\1" + bytes(100), "unread_format"),
        "cut.jxl": (b"not a JPEG XL", "unread_format"),
        "film.gif": (b"\0\0\0\x18ftypqt  \0\0\0\0qt  " + bytes(100), "not_an_image"),
        "really_a_jpeg.heic": (jpeg, "wrong_extension"),
        "really_a_jpeg.csv": (jpeg, "wrong_extension"),
        "moving_gif.webp": (encode(pages[0], "GIF", save_all=True, append_images=pages[1:]), "wrong_extension"),
        "mac_shadow.jpg": (b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(100), "not_an_image"),
        "zeros.jpg": (bytes(5000), "not_an_image"),
        "bomb.jpg": (resized_header(jpeg, 60_000), "too_large"),
        "large_claim.jpg": (resized_header(jpeg, 4_000), "corrupt"),
    }


RARE = {"gif": "GIF", "jp2": "JPEG2000", "avif": "AVIF", "ppm": "PPM", "tga": "TGA"}
"""Suffix -> PIL's name of the format."""
CODED = ("gif", "jp2", "avif")
"""Those in which a run of zeros is damage."""
BOUNDED = ("gif", "jp2", "avif", "ppm")
"""Those that define where they end."""


def write_bad(root: Path) -> dict[str, str]:
    """Write them all, and what no bytes can make; path -> problem."""
    files = bad_files()
    for name, (data, _) in files.items():
        (root / name).write_bytes(data)
    outside = root.parent / "outside.jpg"
    outside.write_bytes(encode(photograph(), "JPEG"))
    (root / "folder.jpg").mkdir()
    (root / "dangling.jpg").symlink_to(root / "nowhere.jpg")
    (root / "link_outside.jpg").symlink_to(outside)
    (root / "circle.jpg").symlink_to(root / "circle.jpg")
    places = {
        "folder.jpg": "missing",
        "dangling.jpg": "missing",
        "never_written.jpg": "missing",
        "link_outside.jpg": "outside_folder",
        "../outside.jpg": "outside_folder",
        str(outside): "outside_folder",
        "circle.jpg": "unreadable",
    }
    return {name: problem for name, (_, problem) in files.items()} | places


def clean_files() -> dict[str, bytes]:
    """Name -> content, each a sound colour image."""
    picture = photograph()
    turned = Image.Exif()
    turned[0x0112] = 6
    opaque = picture.convert("RGBA")
    jpeg = encode(picture, "JPEG")
    flat = Image.new("RGB", (900, 700), (180, 130, 110))
    return {
        "baseline.jpg": jpeg,
        "full_colour.jpg": encode(picture, "JPEG", subsampling=0, quality=100),
        "half_colour.jpg": encode(picture, "JPEG", subsampling=1),
        "progressive.jpg": encode(noise(), "JPEG", progressive=True),
        "optimised.jpeg": encode(picture, "JPEG", optimize=True),
        "flat_optimised.jpg": encode(Image.new("RGB", (900, 700), (180, 130, 110)), "JPEG", optimize=True),
        "restarts.jpg": encode(noise(), "JPEG", restart_marker_rows=1),
        "turned.jpg": encode(picture, "JPEG", exif=turned),
        "profile.jpg": encode(picture, "JPEG", icc_profile=bytes(600)),
        "comment.jpg": encode(picture, "JPEG", comment=b"made by hand \xff\xd9 no end"),
        "previews.jpg": encode(picture, "MPO", save_all=True, append_images=[picture.resize((40, 32))]),
        "padded.jpg": jpeg + bytes(700),
        "LOUD.JPG": jpeg,
        "odd_size.jpg": encode(picture.crop((0, 0, 53, 41)), "JPEG"),
        "plain.png": encode(picture, "PNG"),
        "interlaced_sizes.png": encode(picture.resize((7, 5)), "PNG"),
        "palette.png": encode(picture.convert("P", palette=Image.Palette.ADAPTIVE), "PNG"),
        "opaque.png": encode(opaque, "PNG"),
        "padded.png": encode(picture, "PNG") + bytes(12),
        "plain.bmp": encode(picture, "BMP"),
        "odd_width.bmp": encode(picture.crop((0, 0, 51, 40)), "BMP"),
        "palette.bmp": encode(picture.convert("P", palette=Image.Palette.ADAPTIVE), "BMP"),
        "plain.tif": encode(picture, "TIFF"),
        "packed.tiff": encode(picture, "TIFF", compression="tiff_lzw"),
        "deflated.tiff": encode(picture, "TIFF", compression="tiff_adobe_deflate"),
        "jpeg_within.tiff": encode(noise(), "TIFF", compression="jpeg"),
        "with_thumbnail.tiff": _with_thumbnail(picture),
        **{f"noise.{suffix}": encode(noise(), form) for suffix, form in RARE.items()},
        **{f"flat.{suffix}": encode(flat, form) for suffix, form in RARE.items()},
        **{
            f"by_chance{suffix}": jpeg
            for suffix in (".jfif", ".jpe", ".jif", ".PJPEG", ".JFI", ".mpo", "", ".5", ".img")
        },
        "bare.j2k": encode(noise(), "JPEG2000", no_jp2=True),
        "tiles.jp2": encode(noise(), "JPEG2000", tile_size=(64, 64)),
        "padded.jp2": encode(picture, "JPEG2000") + bytes(40),
        "padded.gif": encode(picture, "GIF") + bytes(40),
        "packed.tga": encode(picture, "TGA", compression="tga_rle"),
        "flat_packed.tga": encode(flat, "TGA", compression="tga_rle"),
        "palette.tga": encode(picture.convert("P", palette=Image.Palette.ADAPTIVE), "TGA"),
        "written.ppm": b"P3\n# by a program\n2 2 255\n10 20 30 40 50 60\n70 80 90 100 110 120\n",
        "turned.avif": encode(picture, "AVIF", exif=turned),
        "plain.dib": encode(picture, "BMP"),
        "plain.apng": encode(picture, "PNG"),
        "plain.webp": encode(picture, "WEBP"),
        "lossless.webp": encode(picture, "WEBP", lossless=True),
        "flat.webp": encode(Image.new("RGB", (2000, 2000), (180, 130, 110)), "WEBP"),
        "opaque.webp": encode(opaque, "WEBP"),
    }


def _with_thumbnail(picture: Image.Image) -> bytes:
    """Two pages, the second marked as a smaller copy of the first (TIFF 6.0, tag 254, bit 0)."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[254] = 0
    data = bytearray(encode(picture, "TIFF", save_all=True, append_images=[picture.resize((20, 16))], tiffinfo=tags))
    first = int.from_bytes(data[4:8], "little")
    entries = int.from_bytes(data[first : first + 2], "little")
    second = int.from_bytes(data[first + 2 + 12 * entries :][:4], "little")
    assert data[second + 2 : second + 4] == (254).to_bytes(2, "little")
    data[second + 10] = 1
    return bytes(data)


def write_clean(root: Path) -> list[str]:
    files = clean_files()
    for name, data in files.items():
        (root / name).write_bytes(data)
    return list(files)


def gps_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 1  # an Exif that is empty but for GPS is not written
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 12.0, 0.0)})
    return exif


def identifying_files() -> dict[str, tuple[bytes, str | None]]:
    """Name -> content and the words that `identifying` must hold."""
    picture = photograph()
    turned, camera, empty_gps = Image.Exif(), Image.Exif(), Image.Exif()
    turned[0x0112] = 6
    camera[0x0110] = "Camera of Jane Roe"
    empty_gps[0x0112] = 1
    empty_gps.get_ifd(0x8825)[0] = b"\2\3\0\0"
    notes, packet = PngInfo(), PngInfo()
    notes.add_text("Patient", "Jane Roe")
    packet.add_itxt("XML:com.adobe.xmp", "<x:xmpmeta/>")
    iptc = b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x0e\x1c\x02\x50\0\x08Jane Roe"
    jpeg = encode(picture, "JPEG")
    jp2_xmp = struct.pack(">I", 36) + b"uuid" + bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + b"<x:xmpmeta/>"

    def segment(kind: int, body: bytes) -> bytes:
        return jpeg[:2] + bytes([0xFF, kind]) + struct.pack(">H", len(body) + 2) + body + jpeg[2:]

    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[315] = "Jane Roe"
    return {
        "plain.jpg": (jpeg, None),
        "plain.png": (encode(picture, "PNG"), None),
        "plain.tiff": (encode(picture, "TIFF"), None),
        "plain.webp": (encode(picture, "WEBP"), None),
        "turned.jpg": (encode(picture, "JPEG", exif=turned), None),
        "profile.jpg": (encode(picture, "JPEG", icc_profile=bytes(600)), None),
        "gps_version_alone.jpg": (encode(picture, "JPEG", exif=empty_gps), None),
        "camera.jpg": (encode(picture, "JPEG", exif=camera), "exif"),
        "camera.png": (encode(picture, "PNG", exif=camera), "exif"),
        "camera.webp": (encode(picture, "WEBP", exif=camera), "exif"),
        "gps.jpg": (encode(picture, "JPEG", exif=gps_exif()), "gps"),
        "gps.png": (encode(picture, "PNG", exif=gps_exif()), "gps"),
        "gps.webp": (encode(picture, "WEBP", exif=gps_exif()), "gps"),
        "gps.tiff": (encode(picture, "TIFF", exif=gps_exif().tobytes()), "gps"),
        "broken_exif.jpg": (segment(0xE1, b"Exif\0\0garbage garbage"), "exif"),
        "comment.jpg": (encode(picture, "JPEG", comment=b"Jane Roe"), "text"),
        "maker.jpg": (segment(0xEA, b"MAKER Jane Roe"), "text"),
        "notes.png": (encode(picture, "PNG", pnginfo=notes), "text"),
        "artist.tiff": (encode(picture, "TIFF", tiffinfo=tags), "text"),
        "packet.jpg": (segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x exif:GPSLatitude='48'/>"), "gps,xmp"),
        "packet.png": (encode(picture, "PNG", pnginfo=packet), "xmp"),
        "packet.webp": (encode(picture, "WEBP", xmp=b"<x:xmpmeta/>"), "xmp"),
        "press.jpg": (segment(0xED, iptc), "iptc"),
        "plain.gif": (encode(picture, "GIF"), None),
        "comment.gif": (encode(picture, "GIF", comment=b"Jane Roe"), "text"),
        "plain.jp2": (encode(picture, "JPEG2000"), None),
        "comment.jp2": (encode(picture, "JPEG2000", comment="Jane Roe"), "text"),
        "packet.jp2": (encode(picture, "JPEG2000") + jp2_xmp, "xmp"),
        "plain.avif": (encode(picture, "AVIF"), None),
        "camera.avif": (encode(picture, "AVIF", exif=camera), "exif"),
        "packet.avif": (encode(picture, "AVIF", xmp=b"<x:xmpmeta/>"), "xmp"),
        "plain.ppm": (encode(picture, "PPM"), None),
        "comment.ppm": (encode(picture, "PPM").replace(b"P6\n", b"P6\n# Jane Roe\n", 1), "text"),
        "plain.tga": (encode(picture, "TGA"), None),
        "id.tga": (encode(picture, "TGA", id_section=b"Jane Roe"), "text"),
    }
