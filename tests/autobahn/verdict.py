"""Prints the verdicts of an Autobahn index.json; exits 1 if anything failed or too little was run."""

import collections
import json
import sys

GOOD = {"OK", "NON-STRICT", "INFORMATIONAL"}

with open(sys.argv[1]) as file:
    cases = {case: verdict for agent in json.load(file).values() for case, verdict in agent.items()}
bad = {
    case: (verdict["behavior"], verdict["behaviorClose"])
    for case, verdict in cases.items()
    if verdict["behavior"] not in GOOD or verdict["behaviorClose"] not in GOOD
}
counts = collections.Counter(verdict["behavior"] for verdict in cases.values())
closes = collections.Counter(verdict["behaviorClose"] for verdict in cases.values())
print(f"{len(cases)} cases: {dict(counts)}, closes: {dict(closes)}")
for case, verdict in bad.items():
    print(case, *verdict)
sys.exit(1 if bad or not cases else 0)
