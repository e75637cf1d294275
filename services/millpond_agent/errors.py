"""What can go wrong on the contributor's machine.

MillpondError
├── AgentEnds: the agent can't go on, and says why
│   ├── AlreadyRunning
│   ├── DirectoryUnusable
│   ├── EdgeUnknown
│   ├── OtherPool
│   ├── NotRegistered
│   ├── RunnerUnusable
│   └── SessionUnreadable
├── SessionUnwritable
├── EdgeRefused
├── EdgeAway
├── JoinFailed
├── RunnerRefused
├── RunnerLost
└── AttemptFailed: one job; the next one runs
"""

from __future__ import annotations

from millpond.errors import MillpondError


class AgentEnds(MillpondError):
    """The agent can't go on."""


class AlreadyRunning(AgentEnds):
    """Another agent works with {directory}. One machine has one agent; for a second one set MILLPOND_AGENT_DIRECTORY."""


class DirectoryUnusable(AgentEnds):
    """{directory} can't be used: {problem}. Let this user write there, or set MILLPOND_AGENT_DIRECTORY."""


class EdgeUnknown(AgentEnds):
    """No pool is known to this machine. Join one with `millpond agent join URL`, or name it: --edge URL."""


class OtherPool(AgentEnds):
    """{url} is the pool {found}, and {directory} belongs to {expected}.
    Correct the URL, or set MILLPOND_AGENT_DIRECTORY to another place for another pool.
    """


class NotRegistered(AgentEnds):
    """The pool doesn't let this machine in ({reason}): {sentence}
    The machine is {device}. `millpond agent join URL` asks again.
    """


class RunnerUnusable(AgentEnds):
    """The runner at {url} can't be used: {problem}."""


class SessionUnreadable(AgentEnds):
    """{path} can't be read: {problem}.
    Restore it, or move it away: then what the pool had not acknowledged is lost, and a new session begins.
    """


class SessionUnwritable(MillpondError):
    """{path} can't be written: {problem}. Free some space on that disk."""


class EdgeRefused(MillpondError):
    """The pool refuses {request} ({status} {reason}): {sentence}"""


class EdgeAway(MillpondError):
    """{url} can't be reached: {cause}. Check the address and this machine's network, and try again."""


class JoinFailed(MillpondError):
    """This machine has not joined: {problem}"""


class RunnerRefused(MillpondError):
    """The runner refuses ({status} {reason}): {sentence}"""


class RunnerLost(MillpondError):
    """The runner doesn't answer: {cause}."""


class AttemptFailed(MillpondError):
    """{sentence}"""

    def __init__(self, *, reason: str, sentence: str) -> None:
        """``reason`` is for programs, ``sentence`` for people: what JobFailed says."""
        super().__init__(reason=reason, sentence=sentence)
        self.reason = reason
        self.sentence = sentence
