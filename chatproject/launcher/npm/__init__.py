"""What the tests take from npm: programs that pip does not have, each pinned with its hash, fetched into `.state` and never shipped."""

from chatproject.launcher.npm.node import Node, have_node
from chatproject.launcher.npm.packages import Packages
from chatproject.launcher.npm.variables import is_ci, variables_of

__all__ = ["Node", "Packages", "have_node", "is_ci", "variables_of"]
