"""`python -m responder` is the command `responderd`; it refuses to be anything more."""

from .cli import main

if __name__ == "__main__":
    main(prog_name="responderd")
