"""The types of the public surface, where a checker is installed."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_mypy_has_nothing_to_say():
    if shutil.which("mypy") is None:
        pytest.skip("mypy is not installed: pip install -e '.[dev]'")
    done = subprocess.run(["mypy"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_package_says_that_it_has_types():
    assert (ROOT / "espnet_hybridse/py.typed").is_file()
    assert '"py.typed"' in (ROOT / "setup.py").read_text()
