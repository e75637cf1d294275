"""The local stack: Kafka, PostgreSQL and anvil, without anything running beforehand or afterwards."""

from millpond.localstack.component import ComponentFailed
from millpond.localstack.ownership import StackInUse, take
from millpond.localstack.prerequisites import MissingPrerequisite
from millpond.localstack.stack import COMPONENTS, LocalStack
from millpond.localstack.tools import ToolDownloadFailed

__all__ = [
    "COMPONENTS",
    "ComponentFailed",
    "LocalStack",
    "MissingPrerequisite",
    "StackInUse",
    "ToolDownloadFailed",
    "take",
]
