#!/usr/bin/env bash
# A tool call that ends in the middle of a number is a complete call to LangChain, with a smaller number.
#
# langchain-core 1.8.3, pydantic-core 2.50.4, openai 3.57.0. Expected: a reply that was cut off by max_tokens leaves an invalid tool call,
# as its JSON is not closed; and a parser of unfinished JSON leaves out the last, unfinished value, as pydantic_core does with texts. Seen:
# the parts of a stream are closed as if nothing were missing, also when the finish reason is "length": "amount": 12 of 1250, and a text
# without its end. The reply that is not streamed has the same call as invalid. from_json(allow_partial=True) drops a text that is not
# closed and keeps a number that may go on.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check langchain-core==1.8.3 pydantic-core==2.50.4
cd "$folder"
"$folder/env/bin/python" - 2> /dev/null <<"PYTHON"
from langchain_core.messages import AIMessageChunk
from langchain_core.output_parsers.openai_tools import make_invalid_tool_call, parse_tool_call
from pydantic_core import from_json

CUT = '{"to": "anna", "why": "rent", "amount": 12'
parts = [CUT[:9], CUT[9:25], CUT[25:]]
whole = AIMessageChunk(content="")
for at, part in enumerate(parts):
    call = {"name": "pay" if at == 0 else None, "args": part, "id": "1" if at == 0 else None, "index": 0}
    whole += AIMessageChunk(content="", tool_call_chunks=[call])
whole += AIMessageChunk(content="", response_metadata={"finish_reason": "length"}, chunk_position="last")
print("streamed:", whole.response_metadata, whole.tool_calls, "invalid:", whole.invalid_tool_calls)
try:
    at_once = parse_tool_call({"id": "1", "function": {"name": "pay", "arguments": CUT}})
except Exception as error:
    at_once = type(error).__name__
print("at once:", at_once)
texts, numbers = (from_json(text, allow_partial=True) for text in ('{"why": "rent", "to": "an', '{"why": "rent", "amount": 12'))
print("pydantic_core:", texts, numbers)
assert [call["args"] for call in whole.tool_calls] == [{"to": "anna", "why": "rent", "amount": 12}] and not whole.invalid_tool_calls
assert at_once == "OutputParserException"
assert texts == {"why": "rent"} and numbers == {"why": "rent", "amount": 12}
PYTHON
