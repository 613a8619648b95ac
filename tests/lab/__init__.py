"""Tests on network namespaces: real links, real clients, the real daemon."""
