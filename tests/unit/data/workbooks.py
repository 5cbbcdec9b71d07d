"""Small workbooks, written as the XML of Excel and OpenDocument, since no library that writes them is installed."""

from __future__ import annotations

import base64
import gzip
import zipfile
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from xml.sax.saxutils import escape

Cell = str | float | bool | date | None
Rows = Sequence[Sequence[Cell]]

# Sheet S: image, patient, dx; (7, P1, nv), (8, empty, mel), (9, P2, nv), (10, P2, nv), the two P2 one merged cell.
# Made with xlwt 1.3.0, in the format of Excel 97.
_XLS = (
    "ABzY8000000t4+>O=uHA6#iy^(j>HLQd6N7LI@Z&_EPoWrCk-YCri|WB7&x7k<c_Pp@@3WYRyp)JSkoZy?Cj5@drip=0T{aAP7RDc=9A"
    "v@X%&`^D-OLnnMFxtn9bUn>TOXxAQVTFT4ACK2n~!-&?^73_?fM3BcE26I23jBMj<y9I3jspNivQT_ND7h4h(t(($TIuAyA-3N+j^UXT"
    "PnQ8|GL438J=_!?p#$B+>+h5?cSx5*Mh4@cF-@-)j0Ebp@CQ<i(!a*gEx`Ig0T%v-~$-D(#f(-Pblg1qlT=6qmFKf3W!?&3?=Ma|d5-e"
    "NA3|2I2gMmuIf>o#N;>|!QgMwAwC7T=vXu;8B5=W)-zwsrxs|5$EsYhu5l8Nd{rQ@p`Tlw9BGwFN%1h+Uj(<)Jiz+*sy}P5MM;GG`YiX"
    "|HC_kx2KGD4ZqIn4OpH9YL9+`AmnGo#_tV>+K}7=wv;@J3dTVd-2Y<HwQ=3)=9QZaUQQ_`^_>yIJhhsL=JI}$x=p|V#aosSNN`*Snp*S"
    "B~Pl8>29SQm}Z}=+?%9vb~4^tTN?DOq?f)PdK4>twziQzH&nS0oqKQ1AVD*dCBD3-(I@)Et(y{$Ew>gbGkj#(^IMkiYhe|;qyEx5v4kM"
    "25tg-<oE=ebX=<({TdZJT)Pih_Ag25Uv-NsQvJJ)7ny@uyCzQX&{-*NRoA~SOpH%)jkLIhl8b>plunlIXNIs*vHPkPaT%*qY!g1@|D=?"
    "^a;eia2^6D=H;lYCk4<0;t@Ze!RLh$o#?P=an&-Om`-XXv1EK#X?pGp2(9L6|Zlk{S`9|fw5IN#F#*$7j(_Y$k*xZevUj?(BwjADf27;"
    "Sm~()*rh{5`8ChX33VYIXc-D{=ni@qYq=%2;jy761S"
)

_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"


def write_xls(path: Path) -> Path:
    """The workbook in the format of Excel 97, see _XLS."""
    path.write_bytes(gzip.decompress(base64.b85decode(_XLS)))
    return path


def write_xlsx(path: Path, sheets: Mapping[str, Rows] | Rows, merged: Sequence[str] = ()) -> Path:
    """An Excel workbook; `#N/A` is an error cell, an empty row stays empty.

    Args:
        path: of the file.
        sheets: name -> rows, or the rows of one sheet.
        merged: ranges such as B2:B3, of the first sheet.
    """
    named = sheets if isinstance(sheets, Mapping) else {"Sheet1": sheets}
    numbers = range(1, len(named) + 1)
    entries = "".join(
        f'<sheet name="{escape(name)}" sheetId="{n}" r:id="r{n}"/>' for n, name in zip(numbers, named, strict=True)
    )
    targets = "".join(_relation(f"r{n}", "worksheet", f"worksheets/sheet{n}.xml") for n in numbers)
    targets += _relation("r0", "styles", "styles.xml")
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types"/>',
        "_rels/.rels": _relations(_relation("r1", "officeDocument", "xl/workbook.xml")),
        "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>{entries}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": _relations(targets),
        "xl/styles.xml": f'<styleSheet xmlns="{_MAIN}"><cellXfs><xf numFmtId="0"/><xf numFmtId="22"/></cellXfs>'
        "</styleSheet>",
    }
    for n, rows in zip(numbers, named.values(), strict=True):
        body = "".join(f'<row r="{r}">{"".join(_cells(r, row))}</row>' for r, row in enumerate(rows, 1))
        ranges = "".join(f'<mergeCell ref="{place}"/>' for place in merged) if n == 1 else ""
        body = f"<sheetData>{body}</sheetData>" + (f"<mergeCells>{ranges}</mergeCells>" if ranges else "")
        parts[f"xl/worksheets/sheet{n}.xml"] = f'<worksheet xmlns="{_MAIN}">{body}</worksheet>'
    return _zip(path, parts)


def write_ods(path: Path, rows: Rows) -> Path:
    """An OpenDocument spreadsheet with one sheet; cells are text, numbers or null."""
    office = "urn:oasis:names:tc:opendocument:xmlns:office:1.0"
    names = f'xmlns:office="{office}" xmlns:table="{office.replace("office:1", "table:1")}" '
    names += f'xmlns:text="{office.replace("office:1", "text:1")}"'
    body = "".join(f"<table:table-row>{''.join(map(_ods_cell, row))}</table:table-row>" for row in rows)
    content = (
        f"<office:document-content {names}><office:body><office:spreadsheet>"
        f'<table:table table:name="S">{body}</table:table></office:spreadsheet></office:body></office:document-content>'
    )
    kind = "application/vnd.oasis.opendocument.spreadsheet"
    return _zip(path, {"mimetype": kind, "content.xml": content, "META-INF/manifest.xml": _MANIFEST})


_MANIFEST = '<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>'


def _zip(path: Path, parts: Mapping[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return path


def _relations(inside: str) -> str:
    return f'<Relationships xmlns="{_PACKAGE}/relationships">{inside}</Relationships>'


def _relation(name: str, kind: str, target: str) -> str:
    return f'<Relationship Id="{name}" Type="{_OFFICE}/{kind}" Target="{target}"/>'


def _cells(row: int, cells: Sequence[Cell]) -> list[str]:
    return [_cell(cell, f"{chr(ord('A') + place)}{row}") for place, cell in enumerate(cells) if cell is not None]


def _cell(value: Cell, place: str) -> str:
    if isinstance(value, bool):
        return f'<c r="{place}" t="b"><v>{int(value)}</v></c>'
    if isinstance(value, date):
        moment = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)
        return f'<c r="{place}" s="1"><v>{(moment - datetime(1899, 12, 30)).total_seconds() / 86400!r}</v></c>'
    if isinstance(value, str):
        if value.startswith("#"):
            return f'<c r="{place}" t="e"><v>{value}</v></c>'
        return f'<c r="{place}" t="inlineStr"><is><t xml:space="preserve">{escape(value)}</t></is></c>'
    return f'<c r="{place}"><v>{value!r}</v></c>'


def _ods_cell(value: Cell) -> str:
    if value is None:
        return "<table:table-cell/>"
    if isinstance(value, str):
        return f'<table:table-cell office:value-type="string"><text:p>{escape(value)}</text:p></table:table-cell>'
    return f'<table:table-cell office:value-type="float" office:value="{value}"/>'
