"""Every route of the OpenAPI document with requests made from it, right and wrong: no 5xx, nothing undocumented.

    pip install schemathesis
    python benchmarks/serve_schema.py --examples 100      # so many for each route

The server is in this process, on the memory of its tests, whose model costs nothing: what is looked at is what routes
do with what comes. Requests are made without a key, as on one's own computer, for three users that a header names.
Prints how many were sent, by status, and exits with 1 if a reply was not as the document says.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from server.serving import Server

CHECKS = (not_a_server_error, content_type_conformance, response_schema_conformance)
USERS = ("ana", "ben", "花子")
PATIENCE = 600  # seconds, on a machine that does something else


def tried(operation: Any, examples: int, number: int) -> tuple[Counter[int], list[str]]:
    """One route's replies by status, and the first that is wrong of each kind."""
    statuses, wrong = Counter[int](), dict[str, str]()

    @seed(number)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def each(case: Any) -> None:
        user = USERS[statuses.total() % len(USERS)]
        if isinstance(case.body, dict) and isinstance(case.body.get("model"), str) and statuses.total() % 4:
            case.body["model"] = "fake"  # which nobody guesses
        headers = {**(case.headers or {}), "X-Tmem-User": user.encode().decode("latin-1"), "Host": "localhost"}
        response = case.call(headers=headers, timeout=PATIENCE)
        statuses[response.status_code] += 1
        try:
            case.validate_response(response, checks=list(CHECKS))
        except (FailureGroup, Failure) as failure:
            for one in getattr(failure, "exceptions", [failure]):
                wrong.setdefault(type(one).__name__, f"{operation.label}: {response.status_code} {one}")

    each()
    return statuses, list(wrong.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.disable(logging.ERROR)  # of errors that the memory of the tests raises on purpose
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder) / "home")
        for user in USERS:
            server.memory.add(pairs=[("Where does Ana live?", "Lyon")], user_id=user)
        schema = schemathesis.openapi.from_asgi("/openapi.json", server.app)
        statuses, wrong = Counter[int](), list[str]()
        for found in schema.get_all_operations():
            own, faults = tried(found.ok(), options.examples, options.seed)
            statuses, wrong = statuses + own, wrong + faults
            print(f"{found.ok().label}: {dict(sorted(own.items()))}", flush=True)
        server.close()
    print(f"{statuses.total()} requests: {dict(sorted(statuses.items()))}; {len(wrong)} wrong")
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
