"""The test suite: mirrors the source; `lab` is a package so that other folders can build their networks with it."""
