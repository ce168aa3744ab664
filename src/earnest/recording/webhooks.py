"""The scenes of the scenario in which Demo Broker hears of its contracts: **webhooks**."""

from collections.abc import Sequence

import httpcore

from earnest.actions.core import Core
from earnest.outbound.sender import Sender
from earnest.recording.partners import HUDA, OMAR
from earnest.recording.recorder import Recorder
from earnest.settings import Settings
from earnest.worker.deliveries import Deliveries

URL = "https://hooks.broker.example/earnest"
ANSWERED = b"HTTP/1.1 204 No Content\r\n\r\n"


async def resolve(_host: str, _port: int) -> Sequence[str]:
    """The broker's server has a public address."""
    return ["93.184.216.34"]


async def dial(_address: str, _port: int) -> httpcore.AsyncNetworkStream:
    """It takes whatever comes; nothing leaves this machine."""
    return httpcore.AsyncMockStream([ANSWERED])


class WebhookScenes:
    """Told by the scenario, in which `broker` has a token. `core` is the server's: no worker runs
    beside it, so what the worker would do is done here."""

    def __init__(self, recorder: Recorder, core: Core) -> None:
        self.ask = recorder.ask
        self._core = core

    async def tell(self) -> None:
        """A webhook from its first day to its last."""
        await self.ask("broker", "partnerShowWebhook", "None yet", status=404)
        of = "partnerSaveWebhook"
        await self.ask("broker", of, "The first one", body={"webhookUrl": URL})
        await self.ask("broker", of, "Another URL", body={"webhookUrl": f"{URL}/v2"})
        private = {"webhookUrl": "https://10.0.0.7/hook"}
        await self.ask("broker", of, "Nobody's address", status=400, body=private)
        await self.ask("broker", "partnerShowWebhook", "As it stands")
        await self.ask("broker", "partnerSendTest", "A test")
        await self.ask("broker", "partnerCreate", body=_contract())
        await self._deliver()
        await self.ask("broker", "partnerShowLogs", "Both arrived")
        await self._again()
        of = "partnerRegenerateSecret"
        await self.ask("broker", of, "Another secret")
        of = "partnerDeleteWebhook"
        await self.ask("broker", of, "No more of it")
        await self.ask("broker", of, "There is none", status=404)
        for of in ("partnerRegenerateSecret", "partnerSendTest"):
            await self.ask("broker", of, "There is no webhook", status=404)

    async def _again(self) -> None:
        of, created = "partnerListDeliveries", {"event": "contract.created"}
        found = await self.ask("broker", of, "Of one type", query=created)
        await self.ask("broker", of, "No such status", status=400, query={"status": "lost"})
        path = {"deliveryId": found["data"]["deliveries"][0]["id"]}
        of = "partnerReplayDelivery"
        await self.ask("broker", of, "One of them again", path=path)
        unknown = {"deliveryId": "0192a0de-0000-7000-8000-0000000000ff"}
        await self.ask("broker", of, "Nobody knows it", status=404, path=unknown)
        of = "partnerReplayEvents"
        since = created | {"from": "2026-05-01T09:00:00.000Z"}
        await self.ask("broker", of, "All of one type since May", body=since)
        await self.ask("broker", of, "All there ever were", status=400, body={})
        await self._deliver()

    async def _deliver(self) -> None:
        """What the worker does, until nothing is due."""
        sender = Sender(resolve=resolve, dial=dial)
        deliveries = Deliveries(self._core, Settings(), sender=sender)
        while await deliveries.turn():
            pass
        await deliveries.finish()


def _contract() -> dict[str, object]:
    return {
        "title": "Logo pack",
        "contractServiceType": "Service",
        "BuyerParty": HUDA,
        "SellerParty": OMAR,
        "amount": 600,
        "reference": "ord-88",
    }
