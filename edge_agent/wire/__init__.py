"""Every message on every wire, written once, as frozen pydantic models.

The core takes these values as they are; nothing else in the package describes a payload.
"""
