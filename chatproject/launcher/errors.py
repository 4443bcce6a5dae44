from typing import NoReturn


class LauncherError(Exception):
    """Something that one sentence explains; the launcher prints the sentence and ends with a code other than 0."""


def refuse(sentence: str) -> NoReturn:
    """Ends what is going on with a sentence for the person at the terminal."""
    raise LauncherError(sentence)
