"""`python -m audioreason` is the command `audioreason`."""

from audioreason.cli import main

if __name__ == "__main__":
    main()
