"""`hybridse submit`: the zip that the challenge takes, and whether a zip is one."""

import argparse
from pathlib import Path

import yaml

from espnet_hybridse.cli.arguments import pairs
from espnet_hybridse.fileio.lists import read_list
from espnet_hybridse.release.submission import (
    TEMPLATE,
    check_submission,
    make_readme,
    write_submission,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("zip", type=Path, metavar="ZIP", help="to write, or to check with --check")
    parser.add_argument("--noisy", type=Path, required=True, help="wav.scp of the noisy files")
    parser.add_argument("--enhanced", type=Path, help="spk1.scp of hybridse enhance")
    parser.add_argument("--check", action="store_true", help="only name what is wrong with ZIP")
    parser.add_argument("--template", type=Path, help="the challenge's README.yaml; else our own")
    parser.add_argument(
        "--fact", nargs="+", default=[], metavar="FIELD=VALUE", help="fields of README.yaml"
    )


def run(args: argparse.Namespace) -> int:
    noisy = read_list(args.noisy)
    if args.check:
        if not args.zip.is_file():
            raise FileNotFoundError(f"{args.zip}: no such file")
        problems = check_submission(args.zip, noisy)
        for problem in problems:
            print(f"{args.zip}: {problem}")
        print(f"{args.zip}: {len(noisy)} files asked for, {len(problems)} problems")
        return 1 if problems else 0
    if args.enhanced is None:
        raise ValueError("name the enhanced files with --enhanced, or --check a zip")
    template = TEMPLATE
    if args.template is not None:
        template = read_template(args.template)
    readme = make_readme(template, pairs(args.fact, "--fact team=NAME"))
    write_submission(read_list(args.enhanced), noisy, readme, args.zip)
    print(f"{args.zip}: {len(noisy)} files, {args.zip.stat().st_size / 1e6:.1f} MB, checked")
    return 0


def read_template(path: Path) -> dict[str, object]:
    """The fields of the challenge's README.yaml.

    Raises:
        FileNotFoundError: there is none.
        ValueError: not YAML, or no fields.
    """
    try:
        template = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problem = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{path}: not YAML ({problem}); mend it or leave --template out"
        ) from error
    if not isinstance(template, dict):
        raise ValueError(f"{path}: expected 'field: value' lines")
    return template
