#!/usr/bin/env bash
# To chrono-node "twenty-one days ago" is yesterday.
#
# chrono-node 2.10.3. Expected: a number in words that it does not know gives nothing, as "a hundred days ago" does. Seen: it knows one to
# twelve, and takes the last part of what it does not know: "twenty-one days ago" is one day ago, "two and a half weeks ago" half a week,
# "the last Tuesday of May" last Tuesday, "2 days before Christmas" two days before now. The text of the result is shorter, and nothing else
# tells.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund chrono-node@2.10.3 > /dev/null
cat > read.mjs <<"JAVASCRIPT"
import assert from "assert";
import * as chrono from "chrono-node";
const read = (said) => {
  const [found] = chrono.parse(said, new Date(2023, 4, 8, 14));
  const shown = found ? `${found.text}: ${found.start.date().toISOString().slice(0, 10)}` : "nothing";
  console.log(`${said} -> ${shown}`);
  return shown;
};
assert.equal(read("ten days ago"), "ten days ago: 2023-04-28");
assert.equal(read("a hundred days ago"), "nothing");
assert.equal(read("twenty-one days ago"), "one days ago: 2023-05-07");
assert.equal(read("two and a half weeks ago"), "half weeks ago: 2023-05-05");
assert.equal(read("the last Tuesday of May"), "last Tuesday: 2023-05-02");
assert.equal(read("2 days before Christmas"), "2 days before: 2023-05-06");
JAVASCRIPT
TZ=UTC node read.mjs
