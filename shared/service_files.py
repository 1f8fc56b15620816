"""The files that a service brings beside its code: its routes, its migrations."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable

from shared.errors import ConfigError
from shared.services import Service


def service_files(service: Service) -> Traversable:
    """The folder of a service, read but not run; ConfigError if it isn't installed."""
    try:
        return files(service.module)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"The service {service.name} needs the package {service.module}, which isn't installed. "
            "Install it, or take the service's entry out of shared/services.py."
        ) from error
