"""What users do with pip: the built wheel in a fresh virtual environment, plugins installed and removed."""
