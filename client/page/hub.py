"""The page's connection to the daemon: made when it is wanted, and made anew when it is lost."""

import asyncio

from ...proto.messages import SessionStatus, Status
from ..aio import AsyncClient
from ..errors import DaemonGone

# A daemon that is there answers within this; one that is not is told of in the page, seconds.
FOUND_WITHIN_S = 2.0


class Hub:
    """For all who watch. `client` and `status` raise DaemonGone where no daemon answers."""

    def __init__(self, address: str | None) -> None:
        self._address = address
        self._client: AsyncClient | None = None
        self._connecting = asyncio.Lock()

    async def client(self) -> AsyncClient:
        """A client whose daemon has just answered."""
        async with self._connecting:
            if self._client is None:
                self._client = AsyncClient(self._address)
            try:
                await self._client.ping(FOUND_WITHIN_S)
            except DaemonGone:
                await self.close()
                raise
            return self._client

    async def status(self) -> Status:
        """How the daemon does."""
        return await (await self.client()).status()

    async def newest(self) -> SessionStatus | None:
        """The session that was opened last, of those whose client is there."""
        sessions = [each for each in (await self.status()).sessions if each.connected and each.id]
        return sessions[-1] if sessions else None

    async def close(self) -> None:
        """Lets go of the connection, and of all that is watched over it."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()
