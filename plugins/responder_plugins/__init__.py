"""The bundled plugins, one folder each; they register in the entry-point group `responder.plugins` as all others do."""
