"""Zones on their way to other servers: whole zones as messages, and who signs them."""
