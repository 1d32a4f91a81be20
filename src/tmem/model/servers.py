"""What runs elsewhere and takes adapters, over HTTP: llama.cpp's server, and vLLM's."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor
from torch.nn.functional import pad

from tmem.connect import connect
from tmem.errors import EngineError, first_line
from tmem.model.adapter import Matrices, save_adapter
from tmem.model.gguf import cache
from tmem.model.request import Request
from tmem.model.served import Part

AT_ONCE = 16  # requests; what an engine does not work on yet, it lets wait
TRIES = 4  # of a call that met a lost connection or a server that has no room: asking twice changes nothing
KEPT = 64  # memories that stay with a server when others are asked


class Client:
    """JSON over HTTP, as servers with OpenAI's routes speak it; usable by several threads at once."""

    def __init__(self, url: str, key: str | None = None, timeout: float = 600.0) -> None:
        """``key``: by default the environment variable TMEM_ENGINE_KEY, if set."""
        self._connection = connect(
            url,
            key,
            "TMEM_ENGINE_KEY",
            timeout,
            what="an engine",
            example="http://127.0.0.1:8000",
            extra="engine",
            at_once=AT_ONCE + 4,
        )
        self.url = self._connection.url.removesuffix("/v1")

    def get(self, route: str) -> Any:
        """What a route says; None where there is no such route."""
        return self._call("GET", route, None, missing=True)

    def post(self, route: str, body: dict[str, Any], missing: bool = False) -> Any:
        """The reply to a call, as JSON or text; ``missing``: None where there is no such route, or model.

        Raises :class:`EngineError` in one line for whatever is not a reply.
        """
        return self._call("POST", route, body, missing)

    def close(self) -> None:
        self._connection.client.close()

    def _call(self, method: str, route: str, body: dict[str, Any] | None, missing: bool) -> Any:
        import httpx

        problem = ""
        for number in range(TRIES):
            if number:
                time.sleep(0.25 * 2**number)
            try:
                response = self._connection.client.request(method, self.url + route, json=body)
            except httpx.TimeoutException:
                raise EngineError(f"{self.url}: no answer in time; see that it is up and not overloaded") from None
            except httpx.RequestError as error:
                problem = f"cannot be reached ({first_line(error)})"
                continue
            if response.status_code == 200:
                kind = response.headers.get("content-type", "")
                try:
                    return response.json() if "json" in kind else response.text
                except ValueError:
                    raise EngineError(f"{self.url}{route}: its reply is no JSON") from None
            if missing and response.status_code in (404, 405):
                return None
            problem = f"HTTP {response.status_code}: {self._said(response)}"
            if response.status_code not in (429, 502, 503, 504):
                cure = "; set TMEM_ENGINE_KEY" if response.status_code in (401, 403) else ""
                raise EngineError(f"{self.url}{route}: {problem}{cure}")
        raise EngineError(f"{self.url}: {problem}; see that the engine is up")

    def _said(self, response: Any) -> str:
        """The message of an error, as one short line without the key."""
        try:
            error = response.json()
            error = error.get("error", error)
            text = str(error.get("message", error) if isinstance(error, dict) else error)
        except (ValueError, AttributeError):
            text = response.text
        return self._connection.line(text, 300)


def takes_none(name: str) -> EngineError:
    """What is said where llama.cpp is to learn."""
    return EngineError(f"{name}: llama.cpp takes weights only when it starts; vLLM takes them while it runs")


class LlamaServer:
    """llama.cpp's own server. It takes adapters when it starts and never after.

    Every request lists all of them with the weight that each has, for one that lists none gets the sum of all. Keys and
    values are made anew for every request: those that llama.cpp keeps in memory know of no adapter.
    """

    def __init__(self, client: Client) -> None:
        self.client, self.name, self.at_once = client, client.url, AT_ONCE
        self._numbers = self._listed()

    def _listed(self) -> dict[str, int]:
        """The number of every adapter by the digest that its file's name ends with."""
        rows = self.client.get("/lora-adapters")
        try:
            return {Path(row["path"]).stem.rpartition("-")[2]: int(row["id"]) for row in rows or []}
        except (TypeError, KeyError, ValueError):
            raise EngineError(f"{self.name}/lora-adapters: not a list of adapters, as llama.cpp gives it") from None

    @contextmanager
    def ready(self, adapters: Mapping[str, Callable[[], Matrices]], longest: int) -> Iterator[None]:
        self._numbers = self._listed()
        for name in adapters:
            self._number(name)
        yield

    def _number(self, name: str) -> int:
        number = self._numbers.get(name.rpartition("-")[2])
        if number is None:
            raise EngineError(
                f"{self.name}: does not have the memory {name}, and llama.cpp takes adapters only when it starts: "
                "tmem export --format gguf, and give it to llama-server as --lora FILE"
            )
        return number

    def complete(self, request: Request, adapter: str | None, seed: int) -> Part:
        chosen = None if adapter is None else self._number(adapter)
        body: dict[str, Any] = {
            "prompt": list(request.prompt_ids),
            "n_predict": request.max_new_tokens,
            "temperature": request.temperature,
            "top_k": request.top_k or -1,
            "top_p": request.top_p,
            # In this order, and none of the others that are on by default; no penalties.
            "samplers": ["temperature", "top_k", "top_p"],
            "seed": seed,
            "n_probs": 1,
            "return_tokens": True,
            "cache_prompt": False,
            "lora": [{"id": number, "scale": float(number == chosen)} for number in self._numbers.values()],
        }
        reply = self.client.post("/completion", body)
        try:
            ids = tuple(int(token) for token in reply["tokens"])
            rows = reply.get("completion_probabilities", [])
            logprobs = tuple(float(row["logprob"]) for row in rows)
            told = tuple(int(row["id"]) for row in rows)
        except (TypeError, KeyError, ValueError):
            raise EngineError(f"{self.name}/completion: not a completion with tokens, as llama.cpp gives it") from None
        # Of tokens that are parts of one character, it gives none.
        return Part(ids, logprobs if told == ids else ())

    def learn(self, folder: Path) -> None:
        raise takes_none(self.name)

    def close(self) -> None:
        self.client.close()


class VllmServer:
    """A server of vLLM's (``vllm serve --enable-lora``). Memories are put there when they are asked, by name and path.

    They are written into tmem's cache, which the server has to be able to read. No name or path is ever used again for
    something else, so keys and values that vLLM keeps under it are never another's; what is not asked any more is taken
    back.
    """

    def __init__(self, client: Client) -> None:
        self.client, self.name, self.at_once = client, client.url, AT_ONCE
        rows = self._models()
        bases = [row["id"] for row in rows if not row.get("parent")]
        if not bases:
            raise EngineError(f"{self.name}: serves no model")
        self.base: str = bases[0]
        folder = cache() / "adapters"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._folder = TemporaryDirectory(prefix="memories-", dir=folder)
        except OSError as error:
            raise EngineError(f"{folder}: cannot be written ({error.strerror}): set TMEM_CACHE") from None
        self._lock = threading.Lock()
        self._there: dict[str, str] = {}  # a memory's name: what it is called there; the last asked last
        self._used = Counter[str]()  # by calls in progress

    def _models(self) -> list[dict[str, Any]]:
        found = self.client.get("/v1/models")
        rows = found.get("data") if isinstance(found, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) and "id" in row for row in rows):
            raise EngineError(f"{self.name}/v1/models: not a list of models, as OpenAI's interface gives it")
        return rows

    @contextmanager
    def ready(self, adapters: Mapping[str, Callable[[], Matrices]], longest: int) -> Iterator[None]:
        with self._lock:
            new = [name for name in adapters if name not in self._there]
            spare = [name for name in self._there if name not in adapters and not self._used[name]]
            for name in spare[: max(0, len(self._there) + len(new) - KEPT)]:
                self._take_back(name)
            for name, make in adapters.items():
                if name in new:
                    self._put(name, make())
                else:
                    self._there[name] = self._there.pop(name)
            self._used.update(adapters.keys())
        try:
            yield
        finally:
            with self._lock:
                self._used.subtract(adapters.keys())

    def _put(self, name: str, matrices: Matrices) -> None:
        # Another process's of the same memory is another one there: it may be taken back at any time.
        called = f"{name}-{secrets.token_hex(4)}"
        folder, rank = Path(self._folder.name) / called, max(len(a) for a, _ in matrices.values())
        room = max(8, 1 << (rank - 1).bit_length())  # vLLM takes powers of two
        save_adapter(folder, self.base, {own: _of_rank(rank, *pair) for own, pair in matrices.items()}, rank)
        try:
            made = self.client.post(
                "/v1/load_lora_adapter", {"lora_name": called, "lora_path": str(folder.resolve())}, missing=True
            )
        except EngineError as error:
            if "max_lora_rank" not in str(error):
                raise
            raise EngineError(
                f"{self.name}: takes adapters of a lower rank than {rank}: start it with --max-lora-rank {room}"
            ) from None
        if made is None:
            raise EngineError(
                f"{self.name}: takes no adapters while it runs: start it with VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 "
                f"vllm serve {self.base} --enable-lora --max-lora-rank {room}"
            )
        self._there[name] = called

    def _take_back(self, name: str) -> None:
        called = self._there.pop(name)
        self.client.post("/v1/unload_lora_adapter", {"lora_name": called}, missing=True)
        shutil.rmtree(Path(self._folder.name) / called, ignore_errors=True)

    def complete(self, request: Request, adapter: str | None, seed: int) -> Part:
        body: dict[str, Any] = {
            "model": self.base if adapter is None else self._there[adapter],
            "prompt": list(request.prompt_ids),
            "max_tokens": request.max_new_tokens,
            "temperature": request.temperature,
            "top_k": request.top_k or -1,
            "top_p": request.top_p,
            # What a model's own generation_config says would hold for whatever is not said here.
            **{"min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0},
            "seed": seed,
            "logprobs": 1,
            "return_token_ids": True,
        }
        reply = self.client.post("/v1/completions", body)
        try:
            if reply["model"] != body["model"]:  # an unknown name is answered by the base elsewhere
                raise EngineError(f"{self.name}: was asked for {body['model']} and answers as {reply['model']}")
            [choice] = reply["choices"]
            if choice.get("token_ids") is None:
                raise EngineError(f"{self.name}: gives no token ids (return_token_ids): vLLM 0.10.2 and later does")
            ids = tuple(int(token) for token in choice["token_ids"])
            logprobs = tuple(float(value) for value in (choice.get("logprobs") or {}).get("token_logprobs") or ())
        except (TypeError, KeyError, ValueError, AttributeError):
            raise EngineError(f"{self.name}/v1/completions: not a completion, as OpenAI's interface gives it") from None
        return Part(ids, logprobs if len(logprobs) == len(ids) else ())

    def learn(self, folder: Path) -> None:
        reload = {"method": "reload_weights", "kwargs": {"weights_path": str(folder.resolve())}}
        # What is kept of earlier prompts is the older weights'.
        for route, body in (("/collective_rpc", reload), ("/reset_prefix_cache", {})):
            if self.client.post(route, body, missing=True) is None:
                raise EngineError(
                    f"{self.name}: takes no other weights while it runs: start it with VLLM_SERVER_DEV_MODE=1, "
                    "where nobody else can reach it"
                )

    def close(self) -> None:
        with self._lock:
            for name in list(self._there):
                self._take_back(name)
        self.client.close()
        self._folder.cleanup()


def _of_rank(rank: int, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The same change in this rank: vLLM has one for all layers, and those that a family fuses have twice as much."""
    return pad(a, (0, 0, 0, rank - len(a))), pad(b, (0, rank - len(a)))
