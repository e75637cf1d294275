"""``millpond topics``: what is done with the topics, together."""

from __future__ import annotations

from millpond_cli.archive import export, restore
from millpond_cli.recovery import resend_tail
from millpond_cli.topics import topics

topics.command("export")(export)
topics.command("restore")(restore)
topics.command("resend")(resend_tail)
