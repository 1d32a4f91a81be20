#!/usr/bin/env bash
# LiteLLM's cache takes two requests for one that differ in extra_body, headers, min_p or the address of the server.
#
# litellm 1.110.2, its cache in memory. Expected: what goes to the server, all of it, is what makes two requests equal; temperature, seed,
# user and response_format do. Seen: only parameters that it knows of OpenAI's are in the key. The second of two users told apart by
# extra_body or by a header gets the first one's answer and the server is not asked; so does a second grammar, a second min_p, a second
# server.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check litellm==1.110.2 fastapi==0.165.0 orjson==3.13.0 soundfile==0.14.0
cd "$folder"
LITELLM_LOCAL_MODEL_COST_MAP=True NO_PROXY=127.0.0.1 "$folder/env/bin/python" - 2> /dev/null <<"PYTHON"
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import litellm

asked = []


class Server(BaseHTTPRequestHandler):
    def do_POST(self):
        asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        said = {"role": "assistant", "content": f"answer {len(asked)}"}
        body = json.dumps(
            {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0, "finish_reason": "stop", "message": said}]}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server, other = (HTTPServer(("127.0.0.1", 0), Server) for _ in range(2))
for one in (server, other):
    threading.Thread(target=one.serve_forever, daemon=True).start()
here, there = (f"http://127.0.0.1:{one.server_port}/v1" for one in (server, other))
litellm.cache = litellm.Cache(type="local")


def answers(title, *options):
    texts = []
    for option in options:
        asking = {"model": "openai/m", "messages": [{"role": "user", "content": f"Where do I live? ({title})"}]}
        reply = litellm.completion(**{**asking, "api_base": here, "api_key": "none", "caching": True, **option})
        texts.append(reply.choices[0].message.content)
    print(f"{title}: {texts}")
    return len(set(texts)) == len(options)


def two(name, one, other):
    return answers(name, {name: one}, {name: other})


assert two("user", "anna", "ben") and two("temperature", 0, 1) and two("seed", 1, 2)
assert two("response_format", {"type": "text"}, {"type": "json_object"})
assert not two("extra_body", {"memory": {"user": "anna"}}, {"memory": {"user": "ben"}})
assert not two("extra_headers", {"X-User": "anna"}, {"X-User": "ben"})
assert not two("min_p", 0.1, 0.9)
assert not two("guided_json", {"type": "string"}, {"type": "integer"})
assert not two("api_base", here, there)
PYTHON
