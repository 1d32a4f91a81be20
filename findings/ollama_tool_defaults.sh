#!/usr/bin/env bash
# Of a Python function given to Ollama's client as a tool, the arguments with a default value are required.
#
# ollama 0.6.3, its client alone. Expected: top_k: int = 5 may be left out by the model; a Literal gives its choices, a list what is in it.
# Seen: only what may be None (`int | None`) is optional, whatever its default; the choices and the type of the items do not
# reach the model, and neither do descriptions in the docstring styles of NumPy and Sphinx. Of a message, "name" is left out.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check ollama==0.6.3
cd "$folder"
"$folder/env/bin/python" - 2> /dev/null <<"PYTHON"
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Literal

from ollama import Client

sent = []


class Server(BaseHTTPRequestHandler):
    def do_POST(self):
        sent.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        said = {"model": "m", "message": {"role": "assistant", "content": ""}, "done": True}
        body = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def search(query: str, top_k: int = 5, kind: Literal["fact", "event"] = "fact", tags: list[str] = [], user: str | None = "me"):
    """Search the memory.

    :param query: what to look for
    """


server = HTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = Client(f"http://127.0.0.1:{server.server_port}")
client.chat("m", [{"role": "user", "name": "anna", "content": "Hello."}], tools=[search])
tool = sent[0]["tools"][0]["function"]["parameters"]
print("message:", sent[0]["messages"][0])
print("required:", tool["required"])
for name, about in tool["properties"].items():
    print(f"{name}: {about}")
assert sent[0]["messages"][0] == {"role": "user", "content": "Hello."}
assert sorted(tool["required"]) == ["kind", "query", "tags", "top_k"]
assert tool["properties"]["kind"] == {"type": "string", "description": ""}
assert tool["properties"]["tags"] == {"type": "array", "description": ""}
assert tool["properties"]["query"]["description"] == ""
PYTHON
