"""What HTTP costs: the same chat by the library and by ``tmem serve``, streamed, in turn.

    python benchmarks/serve_overhead.py --model smollm2-untaught

Long answers show what an event of a stream costs, short ones what a request does. Seconds of the processors of the
process that answers, the least of all rounds of each. Needs the extra ``server``, and Linux; prints a Markdown table.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import tempfile
from pathlib import Path

import httpx
import torch
from serve import computed
from serve_kill import serve

from tmem import Memory
from tmem.model import Model, load
from tmem.model.request import GenerationConfig
from tmem.server import heap

SAID = [{"role": "user", "content": "Tell me a long story about the sea."}]
SIZES = {"3 answers of 200 tokens": (3, 200), "60 answers of 4 tokens": (60, 4)}


def by_library(memory: Memory, count: int, tokens: int) -> float:
    """Seconds of this process."""
    began = computed(os.getpid())
    for _ in range(count):
        memory.chat(SAID, user_id="ana", learn=False, sampling=GenerationConfig(max_new_tokens=tokens))
    return computed(os.getpid()) - began


def by_http(client: httpx.Client, process: int, model: Model, count: int, tokens: int) -> float:
    """Seconds of the server's process."""
    body = {"model": model.name, "messages": SAID, "stream": True, "max_tokens": tokens, "user": "ana"}
    began = computed(process)
    for _ in range(count):
        with client.stream("POST", "/v1/chat/completions", json=body) as stream:
            if stream.status_code != 200 or not any("[DONE]" in line for line in stream.iter_lines()):
                raise SystemExit(f"serve_overhead.py: status {stream.status_code}")
    return computed(process) - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-untaught")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    heap.keep_together()
    model = load(options.model)
    least = {(size, way): float("inf") for size in SIZES for way in ("library", "http")}
    with tempfile.TemporaryDirectory(prefix="tmem-overhead-") as folder, socket.create_server(("127.0.0.1", 0)) as own:
        process = serve(model, Path(folder) / "served", own)
        try:
            address = f"http://127.0.0.1:{own.getsockname()[1]}"
            with Memory(model, Path(folder) / "home") as memory, httpx.Client(base_url=address, timeout=600) as client:
                for round_ in range(options.rounds + 1):  # in the first weights are packed
                    for size, (count, tokens) in SIZES.items():
                        both = {
                            "library": by_library(memory, count, tokens),
                            "http": by_http(client, process, model, count, tokens),
                        }
                        for way, seconds in both.items() if round_ else ():
                            least[size, way] = min(least[size, way], seconds)
        finally:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
    print(
        f"{options.model}, {options.rounds} rounds\n\n| | library | HTTP | more | of a request |\n|---|---|---|---|---|"
    )
    for size, (count, _) in SIZES.items():
        library, http = least[size, "library"], least[size, "http"]
        cells = (f"{library:.2f} s", f"{http:.2f} s", f"{100 * (http / library - 1):+.1f} %")
        print(f"| {size} | {' | '.join(cells)} | {1000 * (http - library) / count:.0f} ms |")


if __name__ == "__main__":
    main()
