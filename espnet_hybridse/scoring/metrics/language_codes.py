"""Language codes as the lists of this field write them."""

import re

ISO_639_3 = {
    "afr": "af", "amh": "am", "ara": "ar", "asm": "as", "aze": "az", "bak": "ba", "bel": "be",
    "ben": "bn", "bod": "bo", "bos": "bs", "bre": "br", "bul": "bg", "cat": "ca", "ces": "cs",
    "cmn": "zh", "cym": "cy", "dan": "da", "deu": "de", "ell": "el", "eng": "en", "est": "et",
    "eus": "eu", "fao": "fo", "fas": "fa", "fin": "fi", "fra": "fr", "glg": "gl", "guj": "gu",
    "hat": "ht", "hau": "ha", "heb": "he", "hin": "hi", "hrv": "hr", "hun": "hu", "hye": "hy",
    "ind": "id", "isl": "is", "ita": "it", "jv": "jw", "jav": "jw", "jpn": "ja", "kan": "kn",
    "kat": "ka", "kaz": "kk", "khm": "km", "kor": "ko", "lao": "lo", "lat": "la", "lav": "lv",
    "lin": "ln", "lit": "lt", "ltz": "lb", "mal": "ml", "mar": "mr", "mkd": "mk", "mlg": "mg",
    "mlt": "mt", "mon": "mn", "mri": "mi", "msa": "ms", "mya": "my", "nep": "ne", "nld": "nl",
    "nno": "nn", "nb": "no", "nor": "no", "nob": "no", "oci": "oc", "pan": "pa", "pol": "pl",
    "por": "pt", "pus": "ps", "ron": "ro", "rus": "ru", "san": "sa", "sin": "si", "slk": "sk",
    "slv": "sl", "sna": "sn", "snd": "sd", "som": "so", "spa": "es", "sqi": "sq", "srp": "sr",
    "sun": "su", "swa": "sw", "swe": "sv", "tam": "ta", "tat": "tt", "tel": "te", "tgk": "tg",
    "tgl": "tl", "tha": "th", "tuk": "tk", "tur": "tr", "ukr": "uk", "urd": "ur", "uzb": "uz",
    "vie": "vi", "yid": "yi", "yor": "yo", "zho": "zh",
}  # fmt: skip
"""Three letters -> two letters, of every language that Whisper knows by two.

Of several names of one language the last is OWSM's; `jw` and `no` are Whisper's for `jv` and `nb`.
"""


def two_letters(lang: str) -> str:
    """`en`, `eng`, `<eng>` or `en-US` -> `en`; a code that is not in the table stays."""
    code = re.split("[-_]", lang.strip("<>").lower())[0]
    return ISO_639_3.get(code, code)


def three_letters(lang: str) -> str:
    """`en`, `eng`, `<eng>` or `en-US` -> `eng`; a code that is not in the table stays."""
    code = two_letters(lang)
    return {two: three for three, two in ISO_639_3.items()}.get(code, code)
