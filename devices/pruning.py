"""Pruning token pairs and links. Of token pairs what has expired goes, except the newest of each device.

A replaced pair stays until it expires, because its refresh token shown again tells that two have it. The newest one stays even then: a device that
has no pair at all has signed out, and its sockets close.
"""

from accounts.chores import by_blocks

EXPIRED = """
r.refresh_expires_at < clock_timestamp() AND EXISTS (
    SELECT FROM devices_token_pair n WHERE n.device_id = r.device_id AND (n.created_at, n.id) > (r.created_at, r.id))
"""
TOKENS = by_blocks("token pairs", "devices_token_pair", EXPIRED)

# A day after it was opened nobody asks any more what became of a link. One that was approved ends by itself, or is fetched, long before that.
LINKS = by_blocks(
    "links", "devices_link", "r.created_at < clock_timestamp() - interval '24 hours' AND r.state <> 'approved'"
)
