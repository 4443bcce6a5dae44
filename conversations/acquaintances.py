"""People who are members of one conversation."""

from uuid import UUID

from django.db import connection

COMMON = """
SELECT EXISTS (
    SELECT FROM conversations_member one JOIN conversations_member other ON other.conversation_id = one.conversation_id
    WHERE one.user_id = %s AND one.left_seq IS NULL AND other.user_id = %s AND other.left_seq IS NULL)
"""


def share_a_conversation(user_id: UUID, other_id: UUID) -> bool:
    """Whether both are members of some conversation now."""
    with connection.cursor() as cursor:
        cursor.execute(COMMON, [user_id, other_id])
        return bool(cursor.fetchone()[0])
