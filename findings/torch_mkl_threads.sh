#!/usr/bin/env bash
# A thread that multiplies once keeps megabytes until it ends, and torch has no way to give them back.
#
# torch 2.13.0 (CPU, x86, with MKL). Expected: what a product needs beside its operands is freed with it, or kept once for the process. Seen:
# MKL keeps buffers of every thread that ever made a large product until that thread ends: of 32 threads that each multiply a (1024, 512)
# matrix with a (512, 512) one and then wait, 0.95 MiB each, by MKL's own count. A server whose pool has many threads grows by as much
# whenever one is new to products. MKL_DISABLE_FAST_MM=1 ends it if it is set before torch is imported; set afterwards it does nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check torch==2.13.0 numpy==2.3.5
cat > "$folder/threads.py" <<"PYTHON"
import ctypes, os, sys, threading

when = sys.argv[1]
if when == "before":
    os.environ["MKL_DISABLE_FAST_MM"] = "1"
import torch

if when == "after":
    os.environ["MKL_DISABLE_FAST_MM"] = "1"
torch.set_num_threads(1)
held = ctypes.CDLL(os.path.join(torch.__path__[0], "lib", "libtorch_cpu.so")).mkl_serv_mem_stat  # what MKL has, in bytes
held.restype = ctypes.c_int64
COUNT = 32
made, end = threading.Barrier(COUNT + 1), threading.Event()


def work():
    torch.ones(1024, 512) @ torch.ones(512, 512)
    made.wait()
    end.wait()


threads = [threading.Thread(target=work) for _ in range(COUNT)]
for one in threads:
    one.start()
made.wait()
alive = held(ctypes.byref(ctypes.c_int()))
end.set()
for one in threads:
    one.join()
print(f"{alive / COUNT / 2**20:.2f} {held(ctypes.byref(ctypes.c_int())) / COUNT / 2**20:.2f}")
PYTHON
kept() {
    env -u MKL_DISABLE_FAST_MM "$folder/env/bin/python" "$folder/threads.py" "$1"
}
default=$(kept never) early=$(kept before) late=$(kept after)
echo "MiB for each of 32 threads, while they wait and once they have ended: $default; MKL_DISABLE_FAST_MM set before torch's import: $early; after it: $late"
python3 - $default $early $late <<"PYTHON"
import sys

default, ended, early, _, late, _ = map(float, sys.argv[1:])
assert default > 0.25 and late > 0.25 and ended < default / 4 and early == 0
PYTHON
