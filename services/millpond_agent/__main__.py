"""``python -m millpond_agent``: the commands of `millpond agent`, where the rest of the command line isn't installed."""

from millpond_agent.commands import agent

if __name__ == "__main__":
    agent()
