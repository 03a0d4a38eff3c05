"""The demo: two brokers, HQ, the agent, the screens and a replayed day, in one command.

The agent is a process of its own, started as on a gateway, so that its memory is its own. All
else lives in this process. Numbers come from the databases of the agent and of HQ; only the
latency is measured here, by a client that listens as a screen does.
"""
