"""500 damaged files over all containers and 50 damaged lists, from a seed.

    python -m benchmarks.fuzz --files 500 --lists 50 --seed 0

Prints what became of them, by ending; a crash, a file without result or reason, a rest of a
temporary file, or a result of another length ends it with an assertion.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from helpers.damage import fuzz_files, fuzz_lists  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=500, help="damaged files")
    parser.add_argument("--lists", type=int, default=50, help="damaged lists")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counts = fuzz_files(Path(folder), args.files, args.seed)
        lists = fuzz_lists(Path(folder), args.lists, args.seed)
    for suffix in sorted({suffix for suffix, _ in counts}):
        enhanced, bad = counts[suffix, "enhanced"], counts[suffix, "quarantined"]
        print(f"{suffix:5} {enhanced:4} enhanced {bad:4} named")
    print(f"{counts.total()} files; lists: {lists['read']} read, {lists['refused']} refused")


if __name__ == "__main__":
    main()
