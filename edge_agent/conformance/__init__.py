"""Whether a vendor's screen or till keeps the wire's contract, tried on a live broker.

`screen_run` and `till_run` play the agent's side over a `station`, the one file here that speaks
MQTT; they ask a `person` for what no message tells. All else is pure: `screen_cases` and
`till_scenario` say what is tried, `screen_checks` and `till_checks` judge what was heard, and
`contract` holds every check with its place in the documents.
"""
