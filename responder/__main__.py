"""`python -m responder` is the command `responderd`."""

from .cli import main

if __name__ == "__main__":
    main(prog_name="responderd")
