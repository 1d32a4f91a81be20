#!/usr/bin/env bash
# With an allOf of two objects outlines-core makes a model write two objects one after the other, which is no JSON.
#
# outlines-core 0.2.14, lm-format-enforcer 0.11.3, llguidance 1.9.1. Expected: an object with the properties of both, or a refusal of the
# schema. Seen: llguidance and lm-format-enforcer have the properties of both; outlines-core joins the two patterns, so that {"a": 1}{"b":
# 2} is allowed and {"a": 1, "b": 2} is not, and of two limits for one text two texts are asked for. Beside "properties" it leaves allOf
# out. No error, no warning.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check outlines-core==0.2.14 lm-format-enforcer==0.11.3 pydantic==2.14.4 llguidance==1.9.1
cd "$folder"
"$folder/env/bin/python" - 2> /dev/null <<"PYTHON"
import json
import re

from llguidance import LLMatcher, LLTokenizer
from lmformatenforcer import JsonSchemaParser
from outlines_core.json_schema import build_regex_from_schema


def llguidance(schema, text):
    matcher = LLMatcher(LLTokenizer("byte"), LLMatcher.grammar_from_json_schema(json.dumps(schema)))
    return all(matcher.consume_token(byte) for byte in text.encode()) and matcher.is_accepting()


def outlines_core(schema, text):
    return re.fullmatch(build_regex_from_schema(json.dumps(schema)), text) is not None


def format_enforcer(schema, text):
    parser = JsonSchemaParser(schema)
    for character in text:
        if character not in parser.get_allowed_characters():
            return False
        parser = parser.add_character(character)
    return parser.can_end()


def has(name):
    return {"type": "object", "properties": {name: {"type": "integer"}}, "required": [name]}


BOTH, TWO, FIRST = '{"a": 1, "b": 2}', '{"a": 1}{"b": 2}', '{"a": 1}'
for title, schema in (("allOf", {"allOf": [has("a"), has("b")]}), ("beside properties", {**has("a"), "allOf": [has("b")]})):
    seen = {}
    for asked in (llguidance, format_enforcer, outlines_core):
        seen[asked.__name__] = [text for text in (BOTH, TWO, FIRST) if asked(schema, text)]
        print(f"{title}, {asked.__name__}: {seen[asked.__name__]}")
    assert seen["llguidance"] == [BOTH]
    assert title == "beside properties" or seen["format_enforcer"] == [BOTH]
    assert seen["outlines_core"] == ([TWO] if title == "allOf" else [FIRST])
short = {"allOf": [{"type": "string", "minLength": 2}, {"type": "string", "maxLength": 3}]}
print("two limits of one text:", [text for text in ('"tea"', '"te""a"') if outlines_core(short, text)])
assert outlines_core(short, '"te""a"') and not outlines_core(short, '"tea"')
PYTHON
