"""When `amp_dtype: auto` takes bfloat16."""

import pytest
import torch

from espnet_hybridse.nn.precision import autocast, cpu_has_bfloat16
from espnet_hybridse.runtime.processor import parse, processor

CPUINFO = """\
processor\t: 0
vendor_id\t: {vendor}
model name\t: A Processor
flags\t\t: fpu sse2 {flags}

processor\t: 1
vendor_id\t: {vendor}
model name\t: A Processor
flags\t\t: fpu sse2 {flags}
"""


@pytest.mark.parametrize(
    "vendor, flags, expected",
    [
        ("GenuineIntel", "avx512f avx512_bf16 amx_tile amx_bf16", True),
        ("AuthenticAMD", "avx512f avx512_bf16", True),
        ("GenuineIntel", "avx512f avx512_bf16", False),  # measured: slower than float32
        ("AuthenticAMD", "avx2", False),
    ],
)
def test_processors_that_are_faster_in_bfloat16(vendor, flags, expected):
    cpu = parse(CPUINFO.format(vendor=vendor, flags=flags))
    assert cpu.name == "A Processor" and cpu.vendor == vendor and "sse2" in cpu.flags
    assert cpu_has_bfloat16(cpu) is expected


def test_a_system_that_says_nothing_gets_float32():
    assert not cpu_has_bfloat16(parse(""))


@pytest.mark.parametrize("amp_dtype", [None, "auto", "bfloat16"])
def test_the_precision_is_what_was_asked_for(amp_dtype):
    x = torch.ones(2, 2)
    with autocast(torch.device("cpu"), amp_dtype):
        dtype = (x @ x).dtype
    half = amp_dtype == "bfloat16" or (amp_dtype == "auto" and cpu_has_bfloat16(processor()))
    assert dtype == (torch.bfloat16 if half else torch.float32)


def test_other_precisions_are_refused():
    with pytest.raises(ValueError, match="amp_dtype='float16' is not one of null, auto, bfloat16"):
        autocast(torch.device("cpu"), "float16")
