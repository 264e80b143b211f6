"""Damaged files of every container, and damaged lists: enhanced or named, never more than that."""

from collections import Counter

from helpers.damage import fuzz_files, fuzz_lists

COUNT = 92
"""Four of every kind; `python -m benchmarks.fuzz` takes 500."""


def test_damaged_files_of_every_container_are_enhanced_or_named(tmp_path):
    counts = fuzz_files(tmp_path, COUNT)
    assert counts.total() == COUNT
    status = Counter()
    for (_, kind), count in counts.items():
        status[kind] += count
    assert min(status["enhanced"], status["quarantined"]) > COUNT // 8


def test_damaged_lists_are_read_or_refused(tmp_path):
    counts = fuzz_lists(tmp_path, 50)
    assert min(counts["read"], counts["refused"]) > 5
