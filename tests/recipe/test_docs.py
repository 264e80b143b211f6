"""What the documentation says can be typed, and what it names is there."""

import argparse
import functools
import importlib
import re
import shlex
from pathlib import Path

import pytest
import yaml

from espnet_hybridse.cli.arguments import pairs
from espnet_hybridse.cli.main import VERBS
from espnet_hybridse.release.submission import TEMPLATE, make_readme

pytestmark = pytest.mark.compat

ROOT = Path(__file__).parents[2]
TOP = ("README.md", "RESULTS.md", "CONTRIBUTING.md", "CHANGELOG.md", "egs/README.md")
PAGES = [*(ROOT / name for name in TOP), *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = {str(page.relative_to(ROOT)): page for page in PAGES}
TABLES = {"enhance": "docs/enhance.md", "simulate": "docs/simulate.md", "train": "docs/train.md"}
"""Verb -> the page that has one of its options a row."""


def commands(page):
    """Every `hybridse …` of the page's shell blocks, as words."""
    for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if line.strip().startswith("hybridse "):
                line = re.sub(r"\s[<>]\s*\S+", "", line)  # redirections are the shell's
                yield shlex.split(line, comments=True)[1:]


@functools.cache
def parser_of(verb):
    parser = argparse.ArgumentParser()
    importlib.import_module(f"espnet_hybridse.cli.{verb.replace('-', '_')}").add_arguments(parser)
    return parser


def anchor(heading):
    """The link target that mkdocs and git hosts make of a heading."""
    words = re.sub(r"[^\w\s-]", "", heading.lower()).strip()
    return re.sub(r"\s+", "-", words)


def anchors(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return {anchor(heading) for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


@pytest.mark.parametrize("name", NAMES)
def test_commands_have_the_options_they_name(name, capsys):
    for verb, *words in commands(NAMES[name]):
        assert verb in VERBS
        try:
            args = parser_of(verb).parse_args(words)
        except SystemExit:
            pytest.fail(f"{verb} {shlex.join(words)}: {capsys.readouterr().err}")
        if str(getattr(args, "config", "")).startswith("conf/"):
            assert (ROOT / args.config).is_file(), args.config


def test_the_example_of_a_submission_fills_every_field():
    words = [
        words for page in NAMES.values() for verb, *words in commands(page) if verb == "submit"
    ]
    asked = [args for args in map(parser_of("submit").parse_args, words) if not args.check]
    assert asked and all(make_readme(TEMPLATE, pairs(args.fact, "--fact")) for args in asked)


@pytest.mark.parametrize("verb", TABLES)
def test_options_in_tables_are_those_of_the_verb(verb):
    known = set(parser_of(verb)._option_string_actions) - {"--help", "-h"}
    text = (ROOT / TABLES[verb]).read_text(encoding="utf-8")
    rows = [row for row in text.splitlines() if row.startswith("| `--")]
    named = {option for row in rows for option in re.findall(r"--\w+", row.split(" | ")[0])}
    assert named <= known
    # Of `enhance` every option has its row; others may stand in another row's text.
    said = set(re.findall(r"--\w+", "".join(rows)))
    assert verb != "enhance" or known <= said


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name):
    page = NAMES[name]
    text = page.read_text(encoding="utf-8")
    for target, heading in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", text):
        there = page.parent / target if target else page
        assert there.exists(), target
        assert not heading or heading in anchors(there), f"{target}#{heading}"


def test_paths_of_the_repository_are_there():
    """What a page names in code and begins with one of our folders."""
    for name, page in NAMES.items():
        text = page.read_text(encoding="utf-8")
        for path in re.findall(r"`((?:espnet_hybridse|conf|egs|tests|docs)/[\w./]+)`", text):
            # The changelog names what was.
            assert (ROOT / path).exists() or name == "CHANGELOG.md", f"{name}: {path}"


def test_the_site_has_every_page():
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    nav = yaml.safe_dump(yaml.safe_load(text)["nav"])
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    assert set(re.findall(r"[\w/]+\.md", nav)) == pages


def test_the_first_page_is_short():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 130 and len(text.split()) <= 900
    assert len((ROOT / "RESULTS.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_troubleshooting_quotes_real_messages():
    source = "".join(
        re.sub(r'"\s*f?"', "", path.read_text(encoding="utf-8"))
        for path in (ROOT / "espnet_hybridse").rglob("*.py")
    )
    theirs = (
        "Expected to have finished",
        "Launch by 'srun'",
        "CUDA out of memory",
        "DataLoader worker",
    )
    page = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    for row in page.splitlines():
        quoted = re.match(r"\| `(.*?)` \|", row)
        if quoted is None or quoted.group(1).startswith(theirs):
            continue
        pieces = re.split(r"\b[NM]\b|…", quoted.group(1))
        longest = max(pieces, key=len).strip(" ;,")
        assert longest in source, longest
