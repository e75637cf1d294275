"""``python -m millpond_cli``: the command ``millpond``, where it isn't on the path."""

from millpond_cli.app import main

if __name__ == "__main__":
    main()
