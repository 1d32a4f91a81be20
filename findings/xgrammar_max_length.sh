#!/usr/bin/env bash
# A text with a maxLength or minLength cannot have a line break, a quotation mark or a backslash in xgrammar.
#
# xgrammar 0.2.9, torch 2.13.0. Expected: {"type": "string", "maxLength": 200} is any text of at most 200 characters, and so it is with
# llguidance. Seen: of a text with a limit of either kind the escapes \n, \", \\ and \u are forbidden, however short it is: a fact that
# quotes somebody, or a code of two lines, cannot be written, and the model is made to go on with something else. Without a limit they are
# allowed. No error, no warning.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check torch==2.13.0 xgrammar==0.2.9 llguidance==1.9.1
cd "$folder"
"$folder/env/bin/python" - 2> /dev/null <<"PYTHON"
import json

import xgrammar
from llguidance import LLMatcher, LLTokenizer

END = 256
LETTERS = [bytes([one]) for one in range(END)] + [b"<end>"]
COMPILER = xgrammar.GrammarCompiler(xgrammar.TokenizerInfo(LETTERS, vocab_type=xgrammar.VocabType.RAW, stop_token_ids=[END]))
TEXTS = ["tea", 'Ben said "no"', "two\nlines", "a\\b", "née"]


def in_xgrammar(schema, text):
    matcher = xgrammar.GrammarMatcher(COMPILER.compile_json_schema(json.dumps(schema)))
    return all(matcher.accept_token(byte) for byte in text.encode()) and matcher.accept_token(END)


def in_llguidance(schema, text):
    matcher = LLMatcher(LLTokenizer("byte"), LLMatcher.grammar_from_json_schema(json.dumps(schema)))
    return all(matcher.consume_token(byte) for byte in text.encode()) and matcher.is_accepting()


for limit in ({}, {"maxLength": 200}, {"minLength": 1}):
    schema = {"type": "string", **limit}
    written = [json.dumps(text, ensure_ascii=False) for text in TEXTS]
    mine, other = ([json.loads(text) for text in written if asked(schema, text)] for asked in (in_xgrammar, in_llguidance))
    print(f"{limit}: xgrammar {mine}, llguidance {other}")
    assert other == TEXTS and mine == (["tea", "née"] if limit else TEXTS)
PYTHON
