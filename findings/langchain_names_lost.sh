#!/usr/bin/env bash
# LangChain's merge_message_runs makes one person's message of those of several, and get_buffer_string writes them all as "Human".
#
# langchain-core 1.8.3. Expected: messages with different names are of different speakers and stay apart, or keep their names. Seen:
# neighbours of one role are joined, the names of all of them gone; with one name alone it goes as well. What ben said is then said by
# whoever is taken for the user. get_buffer_string, from which summaries and memories are made, has no names either.
# convert_to_openai_messages keeps them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check langchain-core==1.8.3
cd "$folder"
"$folder/env/bin/python" - 2> /dev/null <<"PYTHON"
from langchain_core.messages import HumanMessage, convert_to_openai_messages, get_buffer_string, merge_message_runs

SAID = [HumanMessage("I live in Rome.", name="anna"), HumanMessage("I live in Oslo.", name="ben")]
merged = merge_message_runs(SAID)
one = merge_message_runs([HumanMessage("I live in Rome.", name="anna"), HumanMessage("I sing.", name="anna")])
written, sent = get_buffer_string(SAID), convert_to_openai_messages(SAID)
print("merged:", [(message.name, message.content) for message in merged])
print("of one name:", [(message.name, message.content) for message in one])
print("written:", repr(written))
print("sent:", sent)
assert [(message.name, message.content) for message in merged] == [(None, "I live in Rome.\nI live in Oslo.")]
assert [message.name for message in one] == [None]
assert written == "Human: I live in Rome.\nHuman: I live in Oslo."
assert [message["name"] for message in sent] == ["anna", "ben"]
PYTHON
