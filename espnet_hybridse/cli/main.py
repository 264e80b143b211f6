"""Entry point of `hybridse`: finds the verb's module and runs it."""

import argparse
import importlib
import logging
import os
import select
import sys

from espnet_hybridse.runtime.version import __version__

PIPE_CLOSED = 141
"""Exit code where the reader of standard output has gone: what a shell gives for SIGPIPE."""

GROUPS = {
    "use": {
        "enhance": "enhance a file, a folder, a pattern or a wav.scp",
        "demo": "a page in the browser: hear, see and compare what is done to a recording",
    },
    "make data": {
        "prepare": "lists of speech, noise, wind and room responses",
        "simulate": "noisy speech: its parameters, then its rendering",
        "check": "lengths, rates, silence, duplicates and leaks between sets",
        "archive": "a set's many audio files in a few Kaldi archives, for training at scale",
        "tokenize": "discrete tokens of clean speech",
    },
    "train": {
        "train": "train one of the three models",
    },
    "measure": {
        "score": "metrics per utterance and on average; ranking, published systems",
        "report": "one page with tables, plots, spectrograms, masks and audio",
    },
    "share": {
        "pack": "copy trained models into a folder, zips or a model hub's folder that travel",
        "submit": "make or check the challenge's zip",
    },
    "help": {
        "doctor": "print versions, what works, what is missing and how to install it",
    },
}
VERBS = {verb: text for verbs in GROUPS.values() for verb, text in verbs.items()}


def build_parser() -> argparse.ArgumentParser:
    """The parser with every verb; a verb's own module is imported only when it is named."""
    groups = (
        "\n".join([f"{title}:", *(f"  {verb:10} {text}" for verb, text in verbs.items())])
        for title, verbs in GROUPS.items()
    )
    parser = argparse.ArgumentParser(
        prog="hybridse",
        description="Universal speech enhancement with ESPnet.",
        epilog="\n\n".join([*groups, "hybridse VERB --help tells the options of a verb."]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"hybridse {__version__}")
    verbs = parser.add_subparsers(
        dest="verb", metavar="VERB", required=True, help="one of those below"
    )
    for verb in VERBS:
        verbs.add_parser(verb, add_help=False)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one verb; wrong use and bad input print one message and return 2."""
    argv = list(sys.argv[1:] if argv is None else argv)
    build_parser().parse_args(argv[:1])
    verb = argv[0]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    module = importlib.import_module(f"espnet_hybridse.cli.{verb.replace('-', '_')}")
    parser = argparse.ArgumentParser(
        prog=f"hybridse {verb}",
        description=VERBS[verb],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    module.add_arguments(parser)
    args = parser.parse_args(with_underscores(argv[1:]))
    try:
        code = module.run(args) or 0
        sys.stdout.flush()  # here, where a reader that has gone can be told from an error
        return code
    except (ValueError, OSError, RuntimeError) as error:
        if isinstance(error, BrokenPipeError) and reader_has_gone():
            return PIPE_CLOSED
        print(f"hybridse {verb}: {error}", file=sys.stderr)
        return 2


def reader_has_gone() -> bool:
    """Whether nobody reads standard output any more, as after `| head`; it goes nowhere then."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    if not any(event & select.POLLERR for _, event in poll.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes at its end
    return True


def with_underscores(argv: list[str]) -> list[str]:
    """Options may be written with hyphens too, as in --params-only; what follows '--' stays."""
    end = argv.index("--") if "--" in argv else len(argv)
    options = []
    for word in argv[:end]:
        name, equals, value = word.partition("=")
        if name.startswith("--"):
            name = "--" + name[2:].replace("-", "_")
        options.append(name + equals + value)
    return options + argv[end:]


if __name__ == "__main__":
    sys.exit(main())
