"""``tmem serve`` and ``tmem keys``: memories over HTTP, and who may ask."""

from __future__ import annotations

import socket
import tomllib
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tmem.cli.common import (
    EngineOption,
    JsonOption,
    MemoryModelOption,
    Weights,
    WeightsOption,
    err,
    load_memory_model,
    print_json,
)
from tmem.cli.homes import HOME, HomeOption
from tmem.cli.pairs import print_plain
from tmem.cli.scopes import Opener, scoped
from tmem.errors import UsageError, first_line

# Seconds that a connection without a request stays: longer than proxies keep theirs (60), who would otherwise send
# requests into one that is being closed.
KEEP_ALIVE = 75
GRACE = 30  # seconds that answers in progress have when it is stopped
keys_app = typer.Typer(no_args_is_help=True, help="Who may ask a server: make, list and revoke keys.")


class Config(BaseModel):
    """What a TOML file of a server may say: the options of ``tmem serve``, by their names."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = None
    engine: str | None = None
    weights: Weights | None = None
    home: str | None = None
    host: str | None = None
    port: int | None = Field(None, ge=1, le=65535)
    waiting: int | None = Field(None, ge=0)
    each: int | None = Field(None, ge=1)
    per_minute: int | None = Field(None, ge=1)
    log_requests: bool | None = None
    webui_secret: str | None = Field(None, min_length=32)


def read_config(context: typer.Context, file: Path | None) -> Path | None:
    """Have what a file says stand for options that neither the command nor the environment gives."""
    if file is not None:
        try:
            said = Config.model_validate(tomllib.loads(file.read_text("utf-8")))
        except OSError as error:
            raise UsageError(f"{file}: cannot be read ({error.strerror}); check the path") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"{file}: not TOML ({first_line(error)})") from None
        except ValidationError as error:
            first = error.errors()[0]
            name, known = ".".join(map(str, first["loc"])), ", ".join(Config.model_fields)
            what = f"there is no such option, only {known}" if first["type"] == "extra_forbidden" else first["msg"]
            raise UsageError(f"{file}: {name}: {what}") from None
        context.default_map = {**(context.default_map or {}), **said.model_dump(mode="json", exclude_none=True)}
    return file


def serve(
    config: Annotated[
        Path | None,
        typer.Option(is_eager=True, callback=read_config, envvar="TMEM_CONFIG", help="A TOML file with these options."),
    ] = None,
    model: MemoryModelOption = None,
    engine: EngineOption = None,
    weights: WeightsOption = Weights.auto,
    home: HomeOption = HOME,
    host: Annotated[
        str,
        typer.Option(envvar="TMEM_HOST", help="Where to listen; elsewhere than on this computer it needs a key."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, envvar="TMEM_PORT")] = 8765,
    waiting: Annotated[
        int,
        typer.Option(min=0, envvar="TMEM_WAITING", help="Calls of a kind that wait; others are told to come again."),
    ] = 64,
    each: Annotated[int, typer.Option(min=1, envvar="TMEM_EACH", help="Calls of one user at a time.")] = 8,
    per_minute: Annotated[
        int | None,
        typer.Option(min=1, envvar="TMEM_PER_MINUTE", help="Requests of a key without a limit of its own."),
    ] = None,
    log_requests: Annotated[
        bool, typer.Option("--log-requests", envvar="TMEM_LOG_REQUESTS", help="A line of JSON for every request.")
    ] = False,
    webui_secret: Annotated[
        str | None,
        typer.Option(
            envvar="TMEM_WEBUI_SECRET",
            help="Open WebUI's FORWARD_USER_INFO_HEADER_JWT_SECRET: whom it speaks for is believed only if signed.",
        ),
    ] = None,
) -> None:
    """Serve memories over HTTP: OpenAI's interface with a memory for each user, and routes to look into it."""
    from tmem.server.keys import Keys

    keys, local = Keys(home), is_local(host)
    if webui_secret is not None and len(webui_secret) < 32:
        raise UsageError("--webui-secret: less than 32 characters can be guessed; give both a longer one")
    if not local and not keys.usable:
        raise UsageError(
            f"--host {host}: without a key only 127.0.0.1 or ::1 is served; make one: tmem keys make NAME --user ID"
        )
    from tmem import heap

    heap.keep_together()  # before torch is there
    try:
        import uvicorn

        from tmem.server import traces
        from tmem.server.app import make_app
        from tmem.server.metrics import write_lines
    except ImportError as error:
        raise UsageError(f"a server needs the extra server ({error.name}): pip install 'tmem[server]'") from None
    from tmem import Memory

    traces.start()
    listening = listen(host, port)
    with listening, ExitStack() as ends:
        loaded = load_memory_model(model, weights)
        memory = ends.enter_context(Memory(loaded, home, side_by_side=engine is None, engine=engine))
        memory.warm()
        write_lines()
        more: dict[str, Any] = {"waiting": waiting, "each": each, "per_minute": per_minute}
        more |= {"log_requests": log_requests, "webui_secret": webui_secret}
        app = make_app(memory, loaded.name, keys, local=local, **more)
        shown = f"[{host}]" if ":" in host else host
        who = "with a key" if keys.needed or not local else "this computer alone, without a key"
        err.print(
            f"tmem: {loaded.name} at http://{shown}:{port}/v1 ({who}); Ctrl-C stops it", highlight=False, markup=False
        )
        settings: dict[str, Any] = {"access_log": False, "log_level": "warning", "server_header": False}
        settings |= {"timeout_keep_alive": KEEP_ALIVE, "timeout_graceful_shutdown": GRACE}
        uvicorn.Server(uvicorn.Config(app, **settings)).run([listening])


def is_local(host: str) -> bool:
    """Whether nobody but this computer reaches an address."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """A socket that others can connect to, before anything slow is done. Raises :class:`UsageError`."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise UsageError(f"{host}:{port} cannot be listened on ({error.strerror}): choose another --port") from None


def mcp(open_memory: Opener) -> None:
    """Serve one memory to an MCP client over standard input and output: tools add, ask, search, list, forget, why."""
    import asyncio
    from importlib.metadata import version

    try:
        from tmem.server.mcp_tools import serve_stdio
    except ImportError as error:
        raise UsageError(f"MCP needs the extra server ({error.name}): pip install 'tmem[server]'") from None
    with open_memory() as memory:
        asyncio.run(serve_stdio(memory, version("tmem")))


@keys_app.command("make")
def make_key(
    name: Annotated[str, typer.Argument(help="What to call it; nothing secret.")],
    user: Annotated[str | None, typer.Option("--user", "-u", help="Whose memory it opens, and no other.")] = None,
    any_user: Annotated[
        bool, typer.Option("--any-user", help="For an application that names the user with every request.")
    ] = False,
    per_minute: Annotated[int | None, typer.Option(min=1, help="How many requests it may make a minute.")] = None,
    home: HomeOption = HOME,
    as_json: JsonOption = False,
) -> None:
    """Make a key. It is shown once: only its hash is kept."""
    from tmem.server.keys import Keys

    if (user is None) != any_user:
        raise UsageError("whose key? give either --user ID or --any-user")
    secret = Keys(home).make(name, user, per_minute)
    if as_json:
        print_json({"name": name, "user": user, "key": secret})
    else:
        print_plain(secret)
        err.print(
            f"tmem: {name} is for {user or 'any user'}; the key is not shown again", highlight=False, markup=False
        )


@keys_app.command("list")
def list_keys(home: HomeOption = HOME, as_json: JsonOption = False) -> None:
    """Whose keys there are, without the keys."""
    from tmem.server.keys import Keys

    keys = Keys(home).all()
    if as_json:
        shown = ("name", "user", "made", "revoked", "per_minute")
        print_json({"keys": [{field: getattr(key, field) for field in shown} for key in keys]})
        return
    for key in keys:
        ended = f", revoked {key.revoked[:10]}" if key.revoked else ""
        limit = f", {key.per_minute} a minute" if key.per_minute else ""
        print_plain(f"{key.name}: {key.user or 'any user'}, made {key.made[:10]}{limit}{ended}")
    if not keys:
        print_plain("no keys yet: tmem keys make NAME --user ID")


@keys_app.command("revoke")
def revoke_key(
    name: Annotated[str, typer.Argument(help="The key's name.")], home: HomeOption = HOME, as_json: JsonOption = False
) -> None:
    """Let a key in no more, from the next request on, also of servers that run."""
    from tmem.server.keys import Keys

    key = Keys(home).revoke(name)
    if as_json:
        print_json({"name": key.name, "revoked": key.revoked})
    else:
        print_plain(f"{key.name} is revoked")


def register(app: typer.Typer) -> None:
    """Put these commands into the application."""
    app.command(rich_help_panel="memories over HTTP")(serve)
    app.command(rich_help_panel="memories over HTTP")(scoped(mcp, looks=False))
    app.add_typer(keys_app, name="keys", rich_help_panel="memories over HTTP")
