"""Sixteen users at once, a memory each: this server, one after the other by the library, and llama.cpp's server.

    pip install 'tmem[server,llamacpp]'
    python benchmarks/serve_llama.py --model smollm2-untaught --also Q4_1.gguf

Every user was told one thing of some forty tokens, and asks for it. The same prompts go to llama.cpp's server with the
same memories, exported as GGUF, one LoRA for each, in float32 and in whatever ``--also`` names. One thread each. Tokens
a second are those of a processor's seconds, whatever else the machine does; times to the first token are by the clock.
What keeps a memory from being asked too much has no part in what is compared, and most of a write's time: it is left
out. Prints a Markdown table. Needs Linux.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import signal
import socket
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from serve import NAMES, PLACES, computed, free_port, ready
from serve_kill import serve

from tmem import Memory
from tmem.model import Model, load

WRITE = {"held": 0, "beside": 0}
ASKED = "What did {} do on Sunday?"
TOLD = (
    "{name} took the early train to {place}, sold {number} small paintings at the market, bought bread and a blue "
    "kite, and walked home along the river with {number} friends."
)


@dataclass
class Way:
    """What a way of answering took. ``first``: seconds to each first token; ``worked``: the processor's, of all."""

    name: str
    texts: list[str]
    first: list[float]
    seconds: float
    worked: float


def users(count: int) -> list[tuple[str, str, str]]:
    """Names with a question and its answer."""
    found = []
    for place, name in enumerate(NAMES[:count]):
        told = TOLD.format(name=name, place=PLACES[place % len(PLACES)], number=place + 3)
        found.append((name, ASKED.format(name), told))
    return found


def library(memory: Memory, asked: Sequence[tuple[str, str, str]]) -> Way:
    """One after the other."""
    own, texts, first = os.getpid(), list[str](), list[float]()
    began, worked = time.perf_counter(), computed(own)
    for name, question, _ in asked:
        texts.append(memory.ask(question, user_id=name).text)
        first.append(time.perf_counter() - began)  # nothing of an answer is there before its end
    return Way("library, one after the other", texts, first, time.perf_counter() - began, computed(own) - worked)


async def streamed(stream: Any, began: float, piece: Callable[[Any], str]) -> tuple[str, float]:
    """A streamed text, and the seconds to its first piece."""
    text, first = "", 0.0
    async for line in stream.aiter_lines():
        if line.startswith("data: {"):
            said = piece(json.loads(line[6:]))
            first = first or (time.perf_counter() - began if said else 0.0)
            text += said
    return text, first


async def at_once(
    name: str, process: int, one: Callable[[int], Awaitable[tuple[str, float]]], order: Sequence[Sequence[int]]
) -> Way:
    """Groups one after the other, the members of each at once."""
    began, worked, done = time.perf_counter(), computed(process), list[tuple[str, float]]()
    for group in order:
        done += await asyncio.gather(*[one(number) for number in group])
    seconds, spent = time.perf_counter() - began, computed(process) - worked
    print(f"{name or 'warm'}: {seconds:.1f} s, {spent:.1f} s of a processor", flush=True)
    return Way(name, [text for text, _ in done], [first for _, first in done], seconds, spent)


async def ours(model: Model, home: Path, asked: Sequence[tuple[str, str, str]]) -> list[Way]:
    """The same over HTTP, first one by one and then all at once."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port, process = listening.getsockname()[1], serve(model, home, listening)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=600) as client:

            async def one(number: int) -> tuple[str, float]:
                name, question, _ = asked[number]
                messages = [{"role": "user", "content": question}]
                body = {"model": model.name, "messages": messages, "stream": True, "user": name}
                began = time.perf_counter()
                async with client.stream("POST", "/v1/chat/completions", json=body) as stream:
                    return await streamed(
                        stream, began, lambda event: event["choices"][0]["delta"].get("content") or ""
                    )

            numbers = list(range(len(asked)))
            await at_once("", process, one, [numbers])  # weights of all are read, those of the model packed
            alone = await at_once("tmem serve, one after the other", process, one, [[number] for number in numbers])
            return [alone, await at_once("tmem serve, all at once", process, one, [numbers])]
    finally:
        os.kill(process, signal.SIGTERM)
        os.waitpid(process, 0)


async def llama(base: Path, loras: Sequence[Path], prompts: Sequence[list[int]], most: int) -> Way:
    """llama.cpp's server with as many slots as users, all at once."""
    port = free_port()
    room = most + max(map(len, prompts)) + 8
    process = multiprocessing.get_context("spawn").Process(target=_llama_server, args=(base, loras, port, room))
    process.start()
    assert process.pid is not None
    alone = httpx.Limits(max_keepalive_connections=0)  # it closes those that are idle, also under a request
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=600, limits=alone) as client:
            await ready(client, "/health", process.is_alive, f"serve_llama.py: llama.cpp did not start with {base}")

            async def one(number: int) -> tuple[str, float]:
                body: dict[str, Any] = {"prompt": prompts[number], "n_predict": most, "temperature": 0.0}
                body |= {"cache_prompt": False, "stream": True, "samplers": ["temperature"]}
                body["lora"] = [{"id": place, "scale": float(place == number)} for place in range(len(loras))]
                began = time.perf_counter()
                async with client.stream("POST", "/completion", json=body) as stream:
                    return await streamed(stream, began, lambda event: str(event.get("content", "")))

            numbers = list(range(len(prompts)))
            await at_once("", process.pid, one, [numbers])
            return await at_once(f"llama.cpp, {base.stem}, all at once", process.pid, one, [numbers])
    finally:
        process.kill()
        process.join()


def _llama_server(base: Path, loras: Sequence[Path], port: int, room: int) -> None:
    """Serve until it is killed."""
    import xllamacpp

    params: Any = xllamacpp.CommonParams()
    params.model.path, params.port = str(base), port
    params.n_parallel, params.n_ctx = len(loras), len(loras) * max(256, room)
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.cache_prompt, params.cache_ram_mib = False, 0
    params.verbosity, params.ui = -1, False
    params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(path), 1.0) for path in loras]
    running = xllamacpp.Server(params)
    while running:
        time.sleep(60)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-untaught")
    parser.add_argument("--also", nargs="*", type=Path, default=[], help="further GGUF files of the same model")
    parser.add_argument("--users", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    model, asked = load(options.model), users(options.users)
    changed = {"recipes": {"tmem": {"fresh": WRITE}}, "max_new_tokens_answer": 64}
    settings = model.settings.model_copy(update=changed)
    model = Model(model.name, model.directory, model.hf, model.tokenizer, settings)
    with tempfile.TemporaryDirectory(prefix="tmem-llama-") as folder:
        home, loras, ways = Path(folder) / "home", list[Path](), list[Way]()
        with Memory(model, home) as memory:
            for name, question, told in asked:
                [row] = memory.add(pairs=[(question, told)], user_id=name).pairs
                print(f"{name}: {'recalled' if row['recalled'] else 'not recalled'}", flush=True)
                memory.export(Path(folder) / name, format="gguf", user_id=name)
                loras += sorted((Path(folder) / name).glob("*.gguf"))
            memory.export(Path(folder) / "base", format="gguf", base="f32", user_id=asked[0][0])
        [base] = [file for file in (Path(folder) / "base").glob("*.gguf") if file.name != loras[0].name]
        prompts = [list(model.bare(question)) for _, question, _ in asked]
        for _ in range(options.rounds):
            with Memory(model, home) as memory:
                memory.ask(asked[0][1], user_id=asked[0][0])
                ways.append(library(memory, asked))
            ways += asyncio.run(ours(model, home, asked))
            for file in (base, *options.also):
                ways.append(asyncio.run(llama(file, loras, prompts, 64)))
    show(model, ways)


def show(model: Model, ways: Sequence[Way]) -> None:
    """The quickest round of each way: other work lends nobody an advantage."""
    best: dict[str, Way] = {}
    for way in ways:
        if way.name not in best or way.worked < best[way.name].worked:
            best[way.name] = way
    [expected, *_] = best.values()
    print("| | tokens | seconds of a processor | tokens a second | first token: median, last | equal texts |")
    print("|---|---|---|---|---|---|")
    for way in best.values():
        tokens = sum(model.count(text) for text in way.texts)
        same = sum(one.strip() == other.strip() for one, other in zip(way.texts, expected.texts, strict=True))
        cells = (tokens, f"{way.worked:.2f}", f"{tokens / way.worked:.0f}")
        first = f"{np.median(way.first):.2f} s, {max(way.first):.2f} s"
        print(f"| {way.name} | {' | '.join(map(str, cells))} | {first} | {same} of {len(way.texts)} |")


if __name__ == "__main__":
    main()
