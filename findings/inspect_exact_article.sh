#!/usr/bin/env bash
# inspect_ai's exact() and f1() call the answer "A" wrong where "A" is the right one.
#
# inspect-ai 0.3.285. Expected: a text equals itself; SQuAD's script, whose rules these are, gives an exact match of 1 for it (and its
# version for SQuAD 2.0 an F1 of 1). Seen: articles are taken out, and what has no word left is skipped as a target. The blood group, the
# grade or the option A is incorrect whatever the model says, B is right. match() and includes() of the same package take it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check inspect-ai==0.3.285
cd "$folder"
"$folder/env/bin/python" - 2> /dev/null <<"PYTHON"
import asyncio

from inspect_ai.model import ChatMessageUser, ModelOutput
from inspect_ai.scorer import Target, exact, f1, includes, match
from inspect_ai.solver import TaskState


def scores(answer, target):
    output = ModelOutput.from_content("model", answer)
    asked = [ChatMessageUser(content="Which blood group has Anna?")]
    state = TaskState(model="none/model", sample_id=1, epoch=1, input="", messages=asked, output=output)
    given = {kind.__name__: asyncio.run(kind()(state, Target(target))).value for kind in (exact, f1, match, includes)}
    print(f"answer {answer!r}, target {target!r}: {given}")
    return list(given.values())


assert scores("B", "B") == ["C", 1.0, "C", "C"]
assert scores("A", "A") == ["I", 0.0, "C", "C"]
assert scores("the group A", "group A") == ["C", 1.0, "C", "C"]
PYTHON
