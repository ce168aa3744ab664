"""The partners' part of the **scenario**: Demo Broker, with Huda who buys and Omar who sells."""

from earnest.recording.recorder import Recorder

HUDA = {"phoneNumber": "966500000001", "firstName": "Huda", "lastName": "S"}
OMAR = {"phoneNumber": "966500000002", "firstName": "Omar", "lastName": "K"}


class PartnerScenes:
    """Told by the scenario, which has Olga signed in."""

    def __init__(self, recorder: Recorder) -> None:
        self.ask = recorder.ask
        self._recorder = recorder

    async def begin(self) -> None:
        """A business and its first token, which is `broker`'s from then on."""
        wanted = {"name": "Demo Broker", "currency": "SAR"}
        made = await self.ask("olga", "createBusiness", "A partner", body=wanted)
        form = {
            "grant_type": "client_credentials",
            "client_id": made["clientId"],
            "client_secret": made["clientSecret"],
        }
        given = await self.ask("", "connectToken", "A token for a day", form=form)
        self._recorder.tokens["broker"] = given["access_token"]

    async def users(self) -> None:
        """Huda and Omar, and how far Omar has come."""
        of = "partnerCreateUser"
        await self.ask("broker", of, "A new user", body=HUDA)
        told = {"nationalId": "2087654321", "iBAN": "SA0380000000608010167519", "bIC": "RJHISARI"}
        back = {"dateOfBirth": "1991-07-14", "callbackUrl": "https://broker.example/back"}
        await self.ask("broker", of, "With what is known of them", body=OMAR | told | back)
        typo = OMAR | {"iBAN": "SA0480000000608010167519"}
        await self.ask("broker", of, "A mistyped IBAN", status=400, body=typo)
        of, number = "partnerShowOnboarding", "phoneNumber"
        await self.ask("broker", of, "How far Omar has come", query={number: OMAR[number]})
        unknown = {number: "966599999999"}
        await self.ask("broker", of, "Nobody has this number", status=404, query=unknown)
