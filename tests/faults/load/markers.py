"""The secrets a run has planted, for the search in log files: one a line, its kind in front."""

from pathlib import Path

from tests.faults.load.scene import Scene


def write(scene: Scene) -> int:
    """Write the file anew with all there are by now. How many.

    One-time codes are six digits and occur by chance: they are of a kind of their own, to be looked for as whole values only.
    """
    secrets = [f"ciphertext {scene.mark}"]
    secrets += [f"phone {person.phone}" for person in scene.people.values()]
    for device in [*scene.devices(), *scene.retired]:
        secrets += [f"token {token}" for token in device.me.tokens_seen]
    secrets += [f"code {code}" for code in scene.codes.all()]
    Path(scene.plan.markers).write_text("\n".join(secrets) + "\n")
    return len(secrets)
