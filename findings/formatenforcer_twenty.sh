#!/usr/bin/env bash
# lm-format-enforcer ends every list after twenty items, though the schema sets no limit.
#
# lm-format-enforcer 0.11.3. Expected: a list without maxItems may be as long as the model makes it, as with llguidance and outlines-core.
# Seen: after the twentieth item only the closing bracket is allowed; nothing is raised or logged, and the result is valid JSON with the
# rest of what should be remembered missing. maxItems in the schema above twenty lifts it, and so does
# CharacterLevelParserConfig(max_json_array_length=...).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check lm-format-enforcer==0.11.3 pydantic==2.14.4
cd "$folder"
"$folder/env/bin/python" - 2> /dev/null <<"PYTHON"
import json

from lmformatenforcer import JsonSchemaParser

OPEN = {"type": "array", "items": {"type": "integer"}}


def allowed(schema, count):
    parser, text = JsonSchemaParser(schema), json.dumps(list(range(count)))
    for at, character in enumerate(text):
        if character not in parser.get_allowed_characters():
            return f"refused at {text[at - 10 : at + 1]!r}"
        parser = parser.add_character(character)
    return "allowed"


found = {count: allowed(OPEN, count) for count in (1, 20, 21)}
print("no maxItems:", found)
wide = allowed({**OPEN, "maxItems": 100}, 50)
print("maxItems 100, 50 items:", wide)
assert found[20] == wide == "allowed" and found[21] == "refused at '17, 18, 19,'"
PYTHON
