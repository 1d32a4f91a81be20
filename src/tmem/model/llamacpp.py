"""llama.cpp in this process (the extra ``llamacpp``): tmem starts it, with the memories that are asked.

It takes adapters only when it starts, so it is started anew for memories that it does not have yet: under a second for
a model of some hundred million parameters, whose file stays mapped.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import RLock
from typing import Any

import torch
from filelock import FileLock

from tmem.errors import EngineError, ModelError, UsageError, first_line
from tmem.model.adapter import Matrices
from tmem.model.gguf import cache
from tmem.model.load import Model
from tmem.model.request import Request
from tmem.model.served import Part
from tmem.model.servers import KEPT, Client, LlamaServer, takes_none
from tmem.model.to_gguf import BASE, Type, base_name, save_base, save_lora

SLOTS = 4  # texts that are generated side by side; more help little where every one has a memory of its own
MADE = 1  # raised when another version of this module makes something else of a model


class LlamaCpp:
    """A :class:`~tmem.model.served.Server` in this process.

    ``base``: a type to write the model in, or a GGUF file of it that tmem wrote; None: the type of its weights.
    ``threads`` None: as many as torch has. Raises :class:`UsageError` without the extra, and :class:`EngineError` for a
    file of another base.
    """

    at_once = SLOTS

    def __init__(self, model: Model, base: Type | Path | None = None, threads: int | None = None) -> None:
        try:
            import xllamacpp  # noqa: F401
        except ImportError:
            raise UsageError("llama.cpp needs the extra llamacpp: pip install 'tmem[llamacpp]'") from None
        self.model, self.threads = model, threads or torch.get_num_threads()
        self.path = base if isinstance(base, Path) else base_file(model, base or type_of(model))
        self.exact = self._check(self.path)
        self.name = f"llama.cpp with {self.path.name}"
        self._folder = TemporaryDirectory(prefix="tmem-")
        self._adapters: dict[str, Path] = {}  # the last asked last
        self._room, self._turn = 0, RLock()
        self._running: Any = None
        self._server: LlamaServer | None = None

    def _check(self, path: Path) -> bool:
        """Whether the file is in float32; raises for one that is not of this model."""
        from gguf import GGUFReader

        try:
            reader = GGUFReader(path)
        except Exception as error:  # whatever a broken file meets in numpy or in enums
            raise EngineError(f"{path}: cannot be read as GGUF ({first_line(error)})") from None
        field = reader.get_field(BASE)
        if field is None or field.contents() != self.model.weights_hash:
            said = "does not say of which model it is" if field is None else "is of another base"
            raise EngineError(f"{path}: {said}: write one with tmem export --format gguf --base f16")
        return all(tensor.tensor_type.name == "F32" for tensor in reader.tensors)

    @contextmanager
    def ready(self, adapters: Mapping[str, Callable[[], Matrices]], longest: int) -> Iterator[None]:
        with self._turn:  # another thread's memories could mean another start
            self._have(adapters, longest)
            yield

    def _have(self, adapters: Mapping[str, Callable[[], Matrices]], longest: int) -> None:
        new = [name for name in adapters if name not in self._adapters]
        for name in adapters:
            if name in self._adapters:
                self._adapters[name] = self._adapters.pop(name)
        if self._running is not None and not new and longest <= self._room:
            return
        self._stop()
        for name in new:
            path = Path(self._folder.name) / f"{name}.gguf"
            save_lora(path, self.model, adapters[name]())
            self._adapters[name] = path
        for name in list(self._adapters)[: max(0, len(self._adapters) - max(KEPT, len(adapters)))]:
            self._adapters.pop(name).unlink()
        # More than the longest text, which llama.cpp ends before the last token otherwise, and twice as much each time.
        self._room = max(self._room, 512, min(1 << longest.bit_length(), self.model.window + 256))
        self._start()

    def complete(self, request: Request, adapter: str | None, seed: int) -> Part:
        assert self._server is not None
        return self._server.complete(request, adapter, seed)

    def learn(self, folder: Path) -> None:
        raise takes_none(self.name)

    def close(self) -> None:
        with self._turn:
            self._stop()
            self._folder.cleanup()

    def _start(self) -> None:
        import xllamacpp

        params: Any = xllamacpp.CommonParams()
        key = secrets.token_hex(16)  # it listens on this computer, and nobody else is to ask
        params.model.path, params.port, params.api_keys = str(self.path), 0, [key]
        params.n_parallel, params.n_ctx = SLOTS, SLOTS * self._room
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = self.threads
        params.cache_prompt, params.cache_ram_mib = False, 0  # these know of no adapter
        params.verbosity, params.warmup, params.ui = -1, False, False
        if self.exact:  # else keys and values are float16, and so are the products of attention
            params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
            params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(path), 1.0) for path in self._adapters.values()]
        try:
            self._running = xllamacpp.Server(params)
        except RuntimeError as error:
            raise EngineError(f"{self.name}: does not start ({first_line(error)})") from None
        self._server = LlamaServer(Client(self._running.listening_address, key))

    def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self._server = self._running = None  # its end ends the threads, too


def type_of(model: Model) -> Type:
    """The type of a model's weights, as a GGUF file has it."""
    kinds: dict[str, Type] = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}
    return kinds[model.dtype]


def base_file(model: Model, kind: Type) -> Path:
    """The model as a GGUF file in tmem's cache, written once."""
    path = cache() / "gguf" / base_name(model, kind, f"-{MADE}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if not path.exists():
                save_base(path, model, kind)
    except OSError as error:
        raise ModelError(f"{path}: cannot be written ({error.strerror}): set TMEM_CACHE to another folder") from None
    return path
