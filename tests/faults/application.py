"""The product's ASGI application with failpoints in it and, if BREAK names one, with a broken rule."""

import os
from pathlib import Path

from chatproject import asgi
from tests.faults import broken
from tests.faults.failpoints.control import Failpoints
from tests.faults.failpoints.points import install

if build := os.environ.get(broken.VARIABLE):
    broken.install(build)
install(Failpoints(Path(os.environ["FAULTS_DIRECTORY"]), os.environ["FAULTS_PROCESS"]))
application = asgi.application
