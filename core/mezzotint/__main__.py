"""`python -m mezzotint` is the command `mezzotint`."""

from .cli.main import main

if __name__ == "__main__":
    main(prog_name="mezzotint")
