"""Who may do what: every call and every frame, against ids of one own, of others, of nobody and of what has ended."""
