#!/usr/bin/env bash
# minijinja writes the tools of a chat template with \u0027, \u003c and \u003e where transformers has the letters themselves.
#
# minijinja 3.1.0, Jinja2 3.1.6 with the settings of transformers. Expected: what renders chat templates outside of Python (servers in Rust
# use it) gives the text that the model was trained on. Seen: tojson escapes ' < > and & as for HTML, so that each apostrophe in the
# description of a tool, and each "<=", is six characters and other tokens. It has no option; a filter of one's own in the place of tojson
# does.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check minijinja==3.1.0 Jinja2==3.1.6
cd "$folder"
"$folder/env/bin/python" - <<"PYTHON"
import json

from jinja2.sandbox import ImmutableSandboxedEnvironment
from minijinja import Environment

TEMPLATE = "<tools>{% for tool in tools %}{{ tool | tojson }}{% endfor %}</tools>"
TOOLS = [{"name": "recall", "description": "The user's facts & <notes>"}]
python, rust = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True), Environment(trim_blocks=True, lstrip_blocks=True)
python.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
trained, served = python.from_string(TEMPLATE).render(tools=TOOLS), rust.render_str(TEMPLATE, tools=TOOLS)
rust.add_filter("tojson", lambda value: json.dumps(value, ensure_ascii=False))
own = rust.render_str(TEMPLATE, tools=TOOLS)
print(f"Jinja2:    {trained}\nminijinja: {served}\nwith a filter of one's own: {own}")
assert trained == own == '<tools>{"name": "recall", "description": "The user\'s facts & <notes>"}</tools>'
assert served == r'<tools>{"name": "recall", "description": "The user\u0027s facts \u0026 \u003cnotes\u003e"}</tools>'
PYTHON
