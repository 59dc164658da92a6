"""Loopback stand-ins for the clouds: the real clients talk to them by the real host names."""
