"""The bridge: what does not speak MQTT reaches the store's broker through it, unchanged.

Two ways in: HTTP (webhooks, devices that post) and files dropped into a folder. Both end in the
same publisher: QoS 1, the body's own bytes, on a topic that a device mapping listens to. Neither
reads what it carries: that is the mapping's work. Nothing is told to be safe before the broker has
acknowledged it; what cannot be delivered is asked for again (HTTP) or stays where it is (files).
"""
