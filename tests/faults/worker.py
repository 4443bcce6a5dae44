"""`python -m tests.faults.worker`: a web worker as the launcher starts it, of the application that can be harmed."""

from chatproject.serve import main

if __name__ == "__main__":
    main("tests.faults.application:application")
