"""Terms that publishers and clinics use for the usual diagnoses, and which of them are malignant.

Nothing here is ever used silently: what follows from it is shown to a person as a guess.
"""

from __future__ import annotations

from components.base.normal_form import letters_of
from components.data.vocabulary import MELANOMA

SAME = (
    MELANOMA,
    ("nv", "nev", "nevus", "naevus", "nevi", "melanocytic nevus", "melanocytic nevi", "melanocytic naevus"),
    ("bcc", "basal cell carcinoma"),
    ("scc", "squamous cell carcinoma", "squamous cell carcinoma nos", "squamous cell carcinoma invasive"),
    ("akiec", "ak", "ack", "actinic keratosis", "actinic keratoses", "solar or actinic keratosis", "bowen's disease",
     "intraepithelial carcinoma", "squamous cell carcinoma in situ"),
    ("bkl", "benign keratosis", "pigmented benign keratosis", "seborrheic keratosis", "seborrhoeic keratosis", "sk",
     "sek", "solar lentigo", "lichen planus like keratosis", "lplk", "benign keratosis like lesions"),
    ("df", "dermatofibroma"),
    ("vasc", "vascular lesion", "vascular lesions", "angioma", "hemangioma", "haemangioma", "angiokeratoma",
     "pyogenic granuloma"),
)  # fmt: skip
"""Terms that publishers use for the diagnoses of HAM10000 (Tschandl et al. 2018, table 2; the vocabulary of the ISIC
Archive)."""

_MALIGNANT = {
    *SAME[0], *SAME[2], *SAME[3], *SAME[4], "malignant", "cancer", "carcinoma",
    "merkel cell carcinoma", "mycosis fungoides", "kaposi sarcoma", "bowen disease",
    "basaliom", "basalzellkarzinom", "spinaliom", "plattenepithelkarzinom",
    "morbus bowen", "aktinische keratose", "bösartig", "maligne", "carcinome", "carcinoma basocelular",
}  # fmt: skip
_BENIGN = {
    *SAME[1], *SAME[5], *SAME[6], *SAME[7], "benign", "lentigo", "lentigo simplex", "lentigo nos", "blue nevus",
    "spitz nevus", "reed nevus", "clark nevus", "combined nevus", "congenital nevus", "dermal nevus", "recurrent nevus",
    "dysplastic nevus", "melanosis", "wart", "verruca", "cyst", "lipoma", "acrochordon", "neurofibroma", "scar",
    "psoriasis", "eczema", "acne", "non neoplastic", "normal", "healthy",
    "nävus", "naevi", "nävi", "seborrhoische keratose", "seborrhoische warze", "alterswarze", "dermatofibrom",
    "histiozytom", "hämangiom", "angiom", "warze", "gutartig", "benigne", "grain de beauté", "lunar",
}  # fmt: skip


MALIGNANT = frozenset(map(letters_of, _MALIGNANT))
BENIGN = frozenset(map(letters_of, _BENIGN))


def is_malignant(diagnosis: str) -> bool | None:
    """Whether a diagnosis is malignant; None where the term is not known.

    Actinic keratosis counts as malignant, as HAM10000 joins it with intraepithelial carcinoma.
    """
    form = letters_of(diagnosis)
    return True if form in MALIGNANT else False if form in BENIGN else None


def is_known(diagnosis: str) -> bool:
    """Whether the term is one of a usual diagnosis."""
    return is_malignant(diagnosis) is not None
