"""Examples of every command, as its help shows them."""

from __future__ import annotations

from collections.abc import Sequence

import typer

EXAMPLES: dict[str, Sequence[str]] = {
    "": (
        "tmem demo",
        'tmem add -u ana "I live in Lyon."; tmem ask -u ana "Where do I live?"',
        "tmem list -u ana; tmem forget -u ana 3f2a",
        "tmem eval persona --memory none,full,tmem",
        "tmem COMMAND --help  # what a command takes, and more examples",
    ),
    "add": (
        'tmem add -u ana "I live in Lyon."',
        'tmem add -u ana -q "Where do I live?" -a Lyon',
        "tmem add -u ana --file notes.md --when 2023-05-08",
        "cat notes.md | tmem add -u ana -",
    ),
    "ask": ('tmem ask -u ana "Where do I live?"', 'tmem ask -u ana "Where do I live?" --version 3'),
    "chat": ("tmem chat -u ana", "echo 'I live in Lyon.' | tmem chat -u ana --json"),
    "list": ("tmem list -u ana", "tmem list -u ana --all --json"),
    "search": ('tmem search -u ana "Lyon" --top-k 3',),
    "get": ("tmem get -u ana 3f2a",),
    "update": ("tmem update -u ana 3f2a Oslo",),
    "forget": ("tmem forget -u ana 3f2a 9c01",),
    "erase": ("tmem erase -u ana --yes",),
    "history": ("tmem history -u ana 3f2a",),
    "versions": ("tmem versions -u ana",),
    "diff": ("tmem diff -u ana 3 4",),
    "rollback": ("tmem rollback -u ana 3",),
    "tag": ("tmem tag -u ana 3 before-the-move",),
    "verify": ("tmem verify -u ana --deep",),
    "why": ('tmem why -u ana "Where do I live?"',),
    "export": ("tmem export -u ana ana.jsonl", "tmem export -u ana adapter --format peft"),
    "import": ("tmem import -u ana ana.jsonl",),
    "stats": ("tmem stats -u ana --json",),
    "rebuild": ("tmem rebuild -u ana", "tmem rebuild --all"),
    "users": ("tmem users --home ~/.tmem",),
    "doctor": ("tmem doctor --fix",),
    "backup": ("tmem backup ~/tmem-2026-11-28",),
    "restore": ("tmem restore ~/tmem-2026-11-28",),
    "absorb": ("tmem absorb --processes 4", "tmem absorb --processes 16 --ray auto"),
    "migrate": ("tmem migrate postgresql://tmem@db.example.org/tmem", "tmem migrate sqlite"),
    "serve": (
        "tmem serve --model persona-nano  # for this computer alone, without a key",
        "tmem keys make phone --user ana; tmem serve --host 0.0.0.0  # for others, with a key",
        'tmem serve --config tmem.toml --port 9000  # home = "/srv/memories" and more in a file',
    ),
    "mcp": ("tmem mcp -u ana",),
    "keys": ("tmem keys make phone --user ana", "tmem keys list"),
    "keys make": ("tmem keys make phone --user ana", "tmem keys make shop --any-user --per-minute 60"),
    "keys list": ("tmem keys list --json",),
    "keys revoke": ("tmem keys revoke phone",),
    "demo": ("tmem demo", "tmem demo --model smollm2"),
    "run": ("tmem run locomo10.json --questions 5", "tmem run locomo10.json --memory rag --out run"),
    "score": ("tmem score --predictions answers.jsonl", "tmem score run --judge-url http://localhost:8000/v1"),
    "world": ("tmem world --out world.json",),
    "models": ("tmem models",),
    "card": ("tmem card", "tmem card --recipe sgd --lr auto"),
    "eval": ("tmem eval persona --memory none,full,tmem --seeds 1,2,3", "tmem eval report out --html report.html"),
    "eval persona": ("tmem eval persona --memory none,full,tmem --seeds 1,2,3",),
    "eval everyday": ("tmem eval everyday --model smollm2 --memory full,tmem --out out/everyday",),
    "eval personas": ("tmem eval personas --data test.csv.gz --model smollm2 --limit 20 --out out/personas",),
    "eval locomo": ("tmem eval locomo --data locomo10.json --model smollm2 --memory full,tmem --limit 1",),
    "eval longmemeval": ("tmem eval longmemeval --data longmemeval_s_cleaned.json --model smollm2 --limit 10",),
    "eval search": ("tmem eval search --data questions.jsonl --corpus passages.jsonl",),
    "eval clbench": ("tmem eval clbench --data CL-bench.jsonl --limit 10 --out out/clbench",),
    "eval seal": ("tmem eval seal --data passages.json --limit 10",),
    "eval report": ("tmem eval report out --html report.html",),
    "train": ("tmem train sft rows.jsonl --out out/sft", "tmem train rl --out out/rl", "tmem train report out"),
    "train sft": ("tmem train sft rows.jsonl --out out/sft", "tmem train sft rows.jsonl --out out/sft --model smollm2"),
    "train rl": (
        "tmem train rl --out out/rl --steps 100",
        "tmem train rl --out out/rl --reward my_reward:score",
        "tmem train rl written --model smollm2 --memory lookup --slow-lora 16 --lr 4e-4 --advantage pair --out out/rl",
    ),
    "train rows": ("tmem train rows everyday --out rows.jsonl",),
    "train report": ("tmem train report out/rl --html report.html",),
}


def shown(name: str) -> str | None:
    """What the help of a command ends with."""
    return "\n\n".join(("Examples:", *EXAMPLES[name])) if name in EXAMPLES else None


def put(app: typer.Typer, before: str = "") -> None:
    """Put its examples into the help of every command."""
    for command in app.registered_commands:
        name = command.name or str(getattr(command.callback, "__name__", ""))
        command.epilog = shown(f"{before}{name}")
    for group in app.registered_groups:
        if group.typer_instance is not None:
            group.epilog = shown(f"{before}{group.name}")
            put(group.typer_instance, f"{before}{group.name} ")
