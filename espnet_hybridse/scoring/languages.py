"""Language codes as the lists of this field write them."""

import re

ISO_639_3 = {
    "ara": "ar", "bul": "bg", "cat": "ca", "ces": "cs", "cmn": "zh", "dan": "da", "deu": "de",
    "ell": "el", "eng": "en", "fra": "fr", "hin": "hi", "ita": "it", "jpn": "ja", "kor": "ko",
    "nld": "nl", "pol": "pl", "por": "pt", "ron": "ro", "rus": "ru", "spa": "es", "swe": "sv",
    "tur": "tr", "ukr": "uk", "zho": "zh",
}  # fmt: skip
"""Three letters -> two letters; of two names of one language the later is the one of OWSM."""


def two_letters(lang: str) -> str:
    """`en`, `eng`, `<eng>` or `en-US` -> `en`; a code that is not in the table stays."""
    code = re.split("[-_]", lang.strip("<>").lower())[0]
    return ISO_639_3.get(code, code)


def three_letters(lang: str) -> str:
    """`en`, `eng`, `<eng>` or `en-US` -> `eng`; a code that is not in the table stays."""
    code = two_letters(lang)
    return {two: three for three, two in ISO_639_3.items()}.get(code, code)
