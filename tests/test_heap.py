"""What is freed goes back, to all threads and to the system. In processes of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HELD = """
import ctypes, sys
from tmem import heap
if sys.argv[1] == "together":
    heap.keep_together()
import torch
held = getattr(ctypes.CDLL(torch.__path__[0] + "/lib/libtorch_cpu.so"), "mkl_serv_mem_stat", None)
if held is None:
    sys.exit("this torch has no MKL")
held.restype = ctypes.c_int64
torch.ones(200, 512) @ torch.ones(512, 512)
print(held(ctypes.byref(ctypes.c_int())))
"""
BEFORE = """
import sys
from tmem import heap
def stop():
    sys.exit("too late" if "torch" in sys.modules else "in time")
heap.keep_together = stop
from tmem.cli import main
sys.argv[1:] = ["serve", "--home", sys.argv[1]]
main()
"""
FREED = """
from pathlib import Path
from tmem import heap
size = lambda: int(Path("/proc/self/statm").read_text().split()[1]) * 4096
many = [bytearray(100_000) for _ in range(2_000)]
for one in many:
    one[::4096] = bytes(len(one[::4096]))
kept = many[::100]  # between what is freed
before = size()
del many, one
held = size()
heap.give_back()
print(before - held, held - size())
"""


def ran(code: str, argument: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, argument], capture_output=True, text=True, check=False)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the library has another name")
def test_mkl_keeps_no_buffers_of_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MKL_DISABLE_FAST_MM", raising=False)
    apart, together = ran(HELD, "apart"), ran(HELD, "together")
    if "no MKL" in apart.stderr or "no such file" in apart.stderr.lower():
        pytest.skip("this torch has no MKL")
    assert int(apart.stdout) > 0 and int(together.stdout) == 0


def test_a_server_says_so_before_torch_is_there(tmp_path: Path) -> None:
    assert ran(BEFORE, tmp_path).stderr.strip() == "in time"


@pytest.mark.skipif(sys.platform != "linux", reason="by glibc")
def test_what_is_freed_between_what_is_kept_goes_back() -> None:
    freed, given_back = map(int, ran(FREED, "").stdout.split())
    assert freed < 50e6 < 100e6 < given_back
