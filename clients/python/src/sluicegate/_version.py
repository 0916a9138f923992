"""The version, once."""

__version__ = "0.1.0"
#: How this client names itself in events.
CLIENT = f"sluicegate-python/{__version__}"
