"""`python -m llm_twin` is the command `twin`."""

from llm_twin.cli import main

if __name__ == "__main__":
    main()
