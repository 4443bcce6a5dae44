"""With which codes sockets close, and why. docs/protocol.md says what a client does then."""

UNSUPPORTED_DATA = 1003
# Nobody said why: the connection has gone.
WENT_AWAY = 1006
NOT_TEXT = 1007
FRAME_TOO_LARGE = 1009
SERVICE_RESTART = 1012
TRY_AGAIN_LATER = 1013

PROTOCOL_ERROR = 4400
UNAUTHENTICATED = 4401
NOT_KEEPING_UP = 4408
CONNECTED_ELSEWHERE = 4409
TOO_FAST = 4429

# The server's own, and what clients and libraries say when they leave: 1000 done, 1001 going away, 1005 no code, 1011 failed.
ALL = frozenset({1000, 1001, 1005, 1011, *(code for name, code in dict(globals()).items() if name.isupper())})
