"""One version, wherever it is said."""

import re
import subprocess
import sys
from pathlib import Path

import yaml

import espnet_hybridse

ROOT = Path(__file__).parents[2]


def test_one_version_everywhere(tmp_path):
    version = espnet_hybridse.__version__
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest[1] == version
    assert f"version = {{{version}}}" in (ROOT / "README.md").read_text(), "of the citation"
    say = [sys.executable, "-m", "espnet_hybridse.cli.main", "--version"]
    assert subprocess.check_output(say, text=True, cwd=ROOT).split() == ["hybridse", version]
    metadata = [sys.executable, "setup.py", "--version"]
    assert subprocess.check_output(metadata, text=True, cwd=ROOT).split()[-1] == version
