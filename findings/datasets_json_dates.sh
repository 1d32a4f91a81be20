#!/usr/bin/env bash
# A column of a JSON file whose texts are all ISO dates comes back as times: the answer "2023-05-08" as 2023-05-08 00:00:00.
#
# datasets 5.2.0, pyarrow 26.0.1. Expected: a JSON string is a text, as "007", "true" and "10:30:00" are. Seen: texts of the forms
# 2023-05-08 and 2023-05-08T10:00:00+02:00, also within a list of accepted answers, are made times without a time zone, and the text is
# gone. One row that is no date keeps the whole column text, so that a part of a data set has another type than the whole. features=... that
# say text give the text of the time, not the one in the file. Dataset.from_list of the same rows keeps them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check datasets==5.2.0 pyarrow==26.0.1
cd "$folder"
HF_HOME="$folder/home" HF_HUB_OFFLINE=1 "$folder/env/bin/python" - 2> /dev/null <<"PYTHON"
import json
from pathlib import Path

from datasets import Dataset, Features, List, Value, load_dataset

DATES = [
    {"question": "When did it open?", "answers": ["2023-05-08"], "said": "2023-05-09T10:00:00+02:00", "number": "007"},
    {"question": "When did it close?", "answers": ["2023-06-01", "2023-06-02"], "said": "2023-06-03T10:00:00+02:00", "number": "008"},
]
NAME = {"question": "Who opened it?", "answers": ["Anna"], "said": "2023-06-04T10:00:00+02:00", "number": "009"}


def file(name, rows, features=None):
    Path(f"{name}.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return load_dataset("json", data_files=f"{name}.jsonl", split="train", features=features)


def first(name, made):
    row = made[0]
    print(f"{name}: {row}")
    return {key: str(row[key][0] if isinstance(row[key], list) else row[key]) for key in ("answers", "said", "number")}


texts = {"answers": "2023-05-08", "said": "2023-05-09T10:00:00+02:00", "number": "007"}
times = {"answers": "2023-05-08 00:00:00", "said": "2023-05-09 08:00:00", "number": "007"}
assert first("dates alone", file("one", DATES)) == times
assert first("dates and a name", file("two", [*DATES, NAME])) == {**times, "answers": "2023-05-08"}
text = Value("string")
asked = Features(question=text, answers=List(text), said=text, number=text)
assert first("with features of text", file("three", DATES, asked)) == times
assert first("from_list", Dataset.from_list(DATES)) == texts
PYTHON
