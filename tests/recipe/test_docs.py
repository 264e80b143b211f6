"""What the documentation says can be typed, and what it names is there."""

import argparse
import importlib
import re
import shlex
from pathlib import Path

import pytest

from espnet_hybridse.cli.main import VERBS

pytestmark = pytest.mark.compat

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "egs/README.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMES = {str(page.relative_to(ROOT)): page for page in PAGES}


def commands(page):
    """Every `hybridse …` of the page's shell blocks, as words."""
    for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            line = re.sub(r"\s[<>]\s*\S+", "", line)  # redirections are the shell's
            words = shlex.split(line, comments=True)
            if words[:1] == ["hybridse"]:
                yield words[1:]


@pytest.mark.parametrize("name", NAMES)
def test_commands_have_the_options_they_name(name, capsys):
    for verb, *words in commands(NAMES[name]):
        assert verb in VERBS
        parser = argparse.ArgumentParser()
        module = importlib.import_module(f"espnet_hybridse.cli.{verb.replace('-', '_')}")
        module.add_arguments(parser)
        try:
            args = parser.parse_args(words)
        except SystemExit:
            pytest.fail(f"{verb} {shlex.join(words)}: {capsys.readouterr().err}")
        if str(getattr(args, "config", "")).startswith("conf/"):
            assert (ROOT / args.config).is_file(), args.config


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name):
    page = NAMES[name]
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_troubleshooting_quotes_real_messages():
    source = "".join(
        re.sub(r'"\s*f?"', "", path.read_text(encoding="utf-8"))
        for path in (ROOT / "espnet_hybridse").rglob("*.py")
    )
    theirs = ("Expected to have finished", "Launch by 'srun'", "CUDA out of memory")
    page = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    for row in page.splitlines():
        quoted = re.match(r"\| `(.*?)` \|", row)
        if quoted is None or quoted.group(1).startswith(theirs):
            continue
        pieces = re.split(r"\b[NM]\b|…", quoted.group(1))
        longest = max(pieces, key=len).strip(" ;,")
        assert longest in source, longest
