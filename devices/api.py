"""HTTP: signing in, devices, keys."""

from ninja import Router

router = Router()
