"""What several bundled plugins have in common; each module names who uses it.  No plugin lives here."""
