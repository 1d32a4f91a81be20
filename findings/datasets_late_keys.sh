#!/usr/bin/env bash
# Of rows given to Dataset.from_list only the first one's keys are kept: what a later row has besides is gone, without a word.
#
# datasets 5.2.0, pyarrow 26.0.1. Expected: a column for each key of any row, None where it lacks, as load_dataset makes one of the same
# rows in a JSON file; a dictionary inside a row does get the keys of all rows. Seen: of rollouts of which only some have a "reference", a
# "reward" or "tools", the columns are there or not by what stands first.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check datasets==5.2.0 pyarrow==26.0.1
cd "$folder"
HF_HOME="$folder/home" HF_HUB_OFFLINE=1 "$folder/env/bin/python" - 2> /dev/null <<"PYTHON"
import json
from pathlib import Path

from datasets import Dataset, load_dataset

ROWS = [{"prompt": "Hello", "about": {"turn": 1}}, {"prompt": "Where?", "about": {"by": "anna"}, "reference": "Rome"}]
Path("rows.jsonl").write_text("\n".join(json.dumps(row) for row in ROWS))
listed, turned = Dataset.from_list(ROWS), Dataset.from_list(ROWS[::-1])
read = load_dataset("json", data_files="rows.jsonl", split="train")
print("from_list:", listed.column_names, listed[1])
print("from_list, the other row first:", turned.column_names, turned[0])
print("load_dataset:", read.column_names, read[1])
assert listed.column_names == ["prompt", "about"] and listed[1]["about"] == {"turn": None, "by": "anna"}
assert sorted(turned.column_names) == sorted(read.column_names) == ["about", "prompt", "reference"]
PYTHON
