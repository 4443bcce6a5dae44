"""Who shares a conversation with whom. That is known above this app, which gives the answer to whoever asks here."""

from collections.abc import Callable
from uuid import UUID

Question = Callable[[UUID, UUID], bool]
_questions: list[Question] = []


def ask_with(question: Question) -> None:
    """How it is found out, for two people."""
    _questions[:] = [question]


def is_acquainted(user_id: UUID, other_id: UUID) -> bool:
    """Whether these two are members of one conversation now, or one and the same."""
    return user_id == other_id or any(question(user_id, other_id) for question in _questions)
