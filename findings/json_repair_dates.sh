#!/usr/bin/env bash
# Of a date without quotation marks json-repair keeps the first number: 7 May 2023 becomes 7.
#
# json-repair 0.64.6. Expected: a value that is no JSON becomes the text that stands there up to the comma, as for 3rd of May or 5kg, or
# an error. Seen: if it begins with a number and a space, the number is the value and the rest is gone;
# so are the units of durations and the minutes of times, and of two lists one after the other only the second one is left.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check json-repair==0.64.6
cd "$folder"
"$folder/env/bin/python" - <<"PYTHON"
from json_repair import loads

WRITTEN = {
    "3rd of May": "3rd of May",
    "5kg": "5kg",
    "7 May 2023": 7,
    "2 weeks ago": 2,
    "5:30 pm": 5,
    "10%": 10,
    "null and void": None,
}
for written, expected in WRITTEN.items():
    found = loads('{"q": "When?", "a": %s, "who": "Anna"}' % written)
    print(f"{written}: {found}")
    assert found == {"q": "When?", "a": expected, "who": "Anna"}
two = loads('[{"q": "one"}]\n[{"q": "two"}]')
print("two lists:", two)
assert two == [{"q": "two"}]
PYTHON
