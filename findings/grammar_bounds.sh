#!/usr/bin/env bash
# Two of three grammars take a schema's minimum and maximum, and let a model write numbers beyond them.
#
# outlines-core 0.2.14, lm-format-enforcer 0.11.3, llguidance 1.9.1. Expected: bounds are kept, or the schema is refused, as both do
# keep minLength, maxItems and pattern. Seen: a judge that is to give a score from 0 to 1 may write 7.5, and one that is to
# name a turn from 1 to 12 may write 50, without an error. llguidance keeps both.
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


CASES = [
    ({"type": "number", "minimum": 0, "maximum": 1}, "0.5", "7.5"),
    ({"type": "integer", "minimum": 1, "maximum": 12}, "5", "50"),
    ({"type": "string", "maxLength": 3}, '"abc"', '"abcd"'),
]
for schema, within, beyond in CASES:
    seen = {asked.__name__: asked(schema, beyond) for asked in (llguidance, outlines_core, format_enforcer)}
    print(f"{json.dumps(schema)}: may write {beyond}?", seen)
    assert all(asked(schema, within) for asked in (llguidance, outlines_core, format_enforcer))
    text = schema["type"] == "string"
    assert seen == {"llguidance": False, "outlines_core": not text, "format_enforcer": not text}
PYTHON
