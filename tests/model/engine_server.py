"""Servers that generate as llama.cpp's and vLLM's do over HTTP, on a tiny model, with what both do without a word.

A request that lists no adapter gets the sum of all (llama.cpp), an unknown number counts as nothing (llama.cpp), and
what was said under a name and path once is said again, whatever lies there now (vLLM).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from tmem.model import Model
from tmem.model.adapter import Matrices

Reply = tuple[int, Any]


class EngineServer:
    """Within ``with``: serves ``url``. ``asked`` are routes and bodies; ``before`` may answer in the routes' place."""

    def __init__(self, model: Model, key: str = "") -> None:
        self.model, self.key = model, key
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.before: Callable[[str, dict[str, Any]], Reply | None] = lambda route, body: None
        self._turn = threading.Lock()

    def __enter__(self) -> Any:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def completions(self) -> list[dict[str, Any]]:
        return [body for route, body in self.asked if route.endswith(("/completion", "/completions"))]

    def reply(self, route: str, body: dict[str, Any]) -> Reply:
        raise NotImplementedError

    @torch.no_grad()
    def say(
        self, prompt: list[int], count: int, scaled: list[tuple[Matrices, float]], seed: int | None = None
    ) -> list[tuple[int, float]]:
        """Tokens and their log-probabilities, drawn with a seed or greedily, until one ends the turn."""
        draw = None if seed is None else torch.Generator().manual_seed(seed)
        layers, found = dict(self.model.hf.named_modules()), list[tuple[int, float]]()
        with self._turn, ExitStack() as hooks:
            for matrices, scale in scaled:
                for name, pair in matrices.items():
                    hooks.callback(layers[name].register_forward_hook(_adding(*pair, scale)).remove)
            while len(found) < count and not (found and found[-1][0] in self.model.stop_ids):
                ids = torch.tensor([[*prompt, *(token for token, _ in found)]])
                said = self.model.hf(ids).logits[0, -1].log_softmax(-1)
                token = int(said.argmax() if draw is None else said.exp().multinomial(1, generator=draw))
                found.append((token, float(said[token])))
        return found


class LlamaCppServer(EngineServer):
    """As ``llama-server --lora FILE ...``; ``adapters`` by the paths of these files."""

    def __init__(self, model: Model, adapters: dict[str, Matrices] | None = None, key: str = "") -> None:
        super().__init__(model, key)
        self.adapters = adapters or {}

    def reply(self, route: str, body: dict[str, Any]) -> Reply:
        if route == "/props":
            return 200, {"default_generation_settings": {}, "total_slots": 1}
        if route == "/lora-adapters":
            return 200, [{"id": number, "path": path, "scale": 1.0} for number, path in enumerate(self.adapters)]
        if route != "/completion":
            return 404, {"error": {"message": "File Not Found"}}
        every = list(self.adapters.values())
        listed = {row["id"]: row["scale"] for row in body.get("lora") or []}
        scaled = [(own, listed.get(number, 0.0) if listed else 1.0) for number, own in enumerate(every)]
        found = self.say(body["prompt"], body["n_predict"], scaled)
        said = [{"id": token, "logprob": logprob} for token, logprob in found]
        return 200, {"tokens": [token for token, _ in found], "completion_probabilities": said}


class VllmLikeServer(EngineServer):
    """As ``vllm serve --enable-lora`` with adapters that come and go while it runs; ``dev``: and weights."""

    def __init__(self, model: Model, rank: int = 16, key: str = "", dev: bool = False) -> None:
        super().__init__(model, key)
        self.rank, self.dev = rank, dev
        self.adapters: dict[str, str] = {}  # name -> path
        self._cache: dict[tuple[str, str, str], list[tuple[int, float]]] = {}

    def reply(self, route: str, body: dict[str, Any]) -> Reply:
        if route == "/v1/models":
            rows = [{"id": "base"}, *({"id": name, "parent": "base"} for name in self.adapters)]
            return 200, {"object": "list", "data": rows}
        if route == "/v1/load_lora_adapter":
            rank = json.loads((Path(body["lora_path"]) / "adapter_config.json").read_text())["r"]
            if rank > self.rank:
                return 400, {"error": {"message": f"LoRA rank {rank} is greater than max_lora_rank {self.rank}."}}
            self.adapters[body["lora_name"]] = body["lora_path"]
            return 200, "Success"
        if route == "/v1/unload_lora_adapter":
            return (200, "Success") if self.adapters.pop(body["lora_name"], None) else (404, {"error": "none"})
        if self.dev and route == "/collective_rpc":
            assert body["method"] == "reload_weights"
            for path in Path(body["kwargs"]["weights_path"]).glob("*.safetensors"):
                weights = load_file(path)
                if strange := weights.keys() - self.model.hf.state_dict().keys():
                    return 500, {"error": {"message": f"There is no parameter named {min(strange)!r}"}}
                self.model.hf.load_state_dict(weights, strict=False)
            return 200, {"results": [None]}
        if self.dev and route == "/reset_prefix_cache":
            self._cache.clear()
            return 200, ""
        if route != "/v1/completions":
            return 404, {"detail": "Not Found"}
        name = body["model"]
        if name not in ("base", *self.adapters):
            return 404, {"error": {"message": f"The model `{name}` does not exist.", "type": "NotFoundError"}}
        path = self.adapters.get(name, "")
        seed = body["seed"] if body["temperature"] else None
        key = (name, path, json.dumps([body["prompt"], body["max_tokens"], seed]))
        if key not in self._cache:
            scaled = [(peft_matrices(path), 1.0)] if path else []
            self._cache[key] = self.say(body["prompt"], body["max_tokens"], scaled, seed)
        ids, logprobs = map(list, zip(*self._cache[key], strict=True))
        return 200, {"model": name, "choices": [{"token_ids": ids, "logprobs": {"token_logprobs": logprobs}}]}


def peft_matrices(path: str) -> Matrices:
    found = load_file(Path(path) / "adapter_model.safetensors")
    names = {key.removeprefix("base_model.model.").rpartition(".lora_")[0] for key in found}
    return {name: tuple(found[f"base_model.model.{name}.lora_{end}.weight"] for end in "AB") for name in names}  # type: ignore[misc]


def _adding(a: Tensor, b: Tensor, scale: float) -> Callable[[Any, Any, Tensor], Tensor]:
    return lambda module, args, output: output + scale * (args[0] @ a.mT @ b.mT)


def _handler(server: EngineServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _answer(self, body: dict[str, Any]) -> None:
            if server.key and self.headers.get("Authorization") != f"Bearer {server.key}":
                status, reply = 401, {"error": {"message": f"Invalid: {self.headers.get('Authorization')}"}}
            else:
                server.asked.append((self.path, body))
                status, reply = server.before(self.path, body) or server.reply(self.path, body)
            if status == 0:
                self.close_connection = True
                return
            data = (reply if isinstance(reply, str) else json.dumps(reply)).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain" if isinstance(reply, str) else "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
