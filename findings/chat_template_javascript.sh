#!/usr/bin/env bash
# A model's chat template gives other text in JavaScript: lstrip('\n') takes the blanks as well, and None, True and 1.0 are written otherwise.
#
# @huggingface/jinja 0.5.11 (of transformers.js) with node, Jinja2 3.1.6 with the settings of transformers. Expected: one template and the
# same messages, one prompt. Seen: strip, lstrip and rstrip take no argument, and all white space goes; of an answer after "</think>\n\n"
# the first line loses its indentation by Qwen3's own expression, and of "***" nothing is stripped. In the arguments of a tool 1.0 becomes 1
# (tojson too), None nothing, True true.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check Jinja2==3.1.6
cd "$folder"
npm install --silent --no-audit --no-fund @huggingface/jinja@0.5.11 > /dev/null
cat > cases.json <<"JSON"
[
  ["{{ said.split('</think>')[-1].lstrip('\\n') }}", {"said": "<think>\n\n</think>\n\n    return 5"}],
  ["{{ said.strip('*') }}", {"said": "***yes***"}],
  ["{% for name, value in given.items() %}{{ name }}={{ value }};{% endfor %}", {"given": {"share": 1.0, "until": null, "all": true}}],
  ["{{ given | tojson }}", {"given": {"share": 1.0, "note": "tea"}}]
]
JSON
cat > render.mjs <<"JAVASCRIPT"
import fs from "fs";
import { Template } from "@huggingface/jinja";
const cases = JSON.parse(fs.readFileSync("cases.json"));
console.log(JSON.stringify(cases.map(([template, given]) => new Template(template).render(given))));
JAVASCRIPT
node render.mjs > script.json
"$folder/env/bin/python" - <<"PYTHON"
import json
from pathlib import Path

from jinja2.sandbox import ImmutableSandboxedEnvironment

environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
cases, scripted = (json.loads(Path(name).read_text()) for name in ("cases.json", "script.json"))
rendered = [environment.from_string(template).render(**given) for template, given in cases]
for (template, _), python, script in zip(cases, rendered, scripted):
    print(f"{template}\n  Python {python!r}, JavaScript {script!r}")
assert rendered == ["    return 5", "yes", "share=1.0;until=None;all=True;", '{"share": 1.0, "note": "tea"}']
assert scripted == ["return 5", "***yes***", "share=1;until=;all=true;", '{"share": 1, "note": "tea"}']
PYTHON
