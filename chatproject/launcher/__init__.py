"""Starts what the application needs, and the application. Imports nothing of it: what cannot start yet must not be needed to start."""
