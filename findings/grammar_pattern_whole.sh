#!/usr/bin/env bash
# A "pattern" of a JSON schema is looked for anywhere in the text by validators, and must be the whole text for grammars.
#
# outlines-core 0.2.14, lm-format-enforcer 0.11.3, llguidance 1.9.1, jsonschema 4.26.0. Expected: a schema means one thing to what
# constrains a model and to what validates its answers; JSON Schema (and pydantic) search. Seen: of three grammars one searches. With the
# other two, "pattern": "[0-9]{4}", a text that names a year, lets a model say "2023" and forbids it to say "in May 2023".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check outlines-core==0.2.14 lm-format-enforcer==0.11.3 pydantic==2.14.4 llguidance==1.9.1 jsonschema==4.26.0
cd "$folder"
"$folder/env/bin/python" - 2> /dev/null <<"PYTHON"
import json
import re

import jsonschema
from llguidance import LLMatcher, LLTokenizer
from lmformatenforcer import JsonSchemaParser
from outlines_core.json_schema import build_regex_from_schema

SCHEMA = {"type": "string", "pattern": "[0-9]{4}"}


def validator(text):
    return jsonschema.Draft202012Validator(SCHEMA).is_valid(json.loads(text))


def llguidance(text):
    matcher = LLMatcher(LLTokenizer("byte"), LLMatcher.grammar_from_json_schema(json.dumps(SCHEMA)))
    return all(matcher.consume_token(byte) for byte in text.encode()) and matcher.is_accepting()


def outlines_core(text):
    return re.fullmatch(build_regex_from_schema(json.dumps(SCHEMA)), text) is not None


def format_enforcer(text):
    parser = JsonSchemaParser(SCHEMA)
    for character in text:
        if character not in parser.get_allowed_characters():
            return False
        parser = parser.add_character(character)
    return parser.can_end()


seen = {}
for asked in (validator, llguidance, outlines_core, format_enforcer):
    seen[asked.__name__] = [asked(text) for text in ('"2023"', '"in May 2023"', '"in May"')]
    print(f"{asked.__name__:16} 2023, in May 2023, in May: {seen[asked.__name__]}")
assert seen["validator"] == seen["llguidance"] == [True, True, False]
assert seen["outlines_core"] == seen["format_enforcer"] == [True, False, False]
PYTHON
