"""What threads have freed goes back to all of them. In processes of their own: it is set before torch is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HELD = """
import ctypes, sys
from tmem.server import heap
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
from tmem.server import heap
def stop():
    sys.exit("too late" if "torch" in sys.modules else "in time")
heap.keep_together = stop
from tmem.cli import main
sys.argv[1:] = ["serve", "--home", sys.argv[1]]
main()
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
