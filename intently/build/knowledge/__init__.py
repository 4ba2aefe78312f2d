"""Knowledge injection: instances of three tasks from which a language model learns the trade."""

from intently.build.knowledge.build import KnowledgeReport, build_knowledge
from intently.build.knowledge.compose import KnowledgeSettings
from intently.build.knowledge.endpoint import EndpointSettings
from intently.build.knowledge.instances import (
    Instance,
    Task,
    handwritten,
    language_of,
    parse_response,
    prompt_for,
    read_instances,
    write_instances,
)

__all__ = [
    "EndpointSettings",
    "Instance",
    "KnowledgeReport",
    "KnowledgeSettings",
    "Task",
    "build_knowledge",
    "handwritten",
    "language_of",
    "parse_response",
    "prompt_for",
    "read_instances",
    "write_instances",
]
