"""The same tests on the fake network of `responder.testing`, on Linux' own, and on Windows under Wine."""
