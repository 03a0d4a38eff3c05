"""HQ's side of the link: a reference receiver that really runs, and the commands it sends down.

Its own program. It shares with the agent only the wire's models, the MQTT link and the signing.
"""
