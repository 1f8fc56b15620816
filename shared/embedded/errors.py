"""What a caller of the embedded stores has to catch."""

from __future__ import annotations

from shared.errors import StoreUnavailable


class EmbeddedStoreError(StoreUnavailable):
    """An embedded store could not be started, found or stopped.

    The message is one line that names the store, the problem and the fix.
    """
