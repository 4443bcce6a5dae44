"""The product's ASGI application with failpoints in it."""

import os
from pathlib import Path

from chatproject import asgi
from tests.faults.failpoints.control import Failpoints
from tests.faults.failpoints.points import install

install(Failpoints(Path(os.environ["FAULTS_DIRECTORY"]), os.environ["FAULTS_PROCESS"]))
application = asgi.application
