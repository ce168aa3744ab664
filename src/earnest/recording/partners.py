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
        wrong = form | {"client_secret": "es_wrong"}
        await self.ask("", "connectToken", "A wrong secret", status=401, form=wrong)
        password = form | {"grant_type": "password"}
        await self.ask("", "connectToken", "Another grant", status=400, form=password)
        await self.ask("", "jwks", "The public half of each key")

    async def businesses(self) -> None:
        """What Olga does with another partner."""
        wanted = {
            "name": "Rival Broker",
            "currency": "KWD",
            "platformFeeBps": 500,
            "platformFeeMinimum": 0.25,
            "callbackHosts": ["shop.example.com"],
        }
        made = await self.ask("olga", "createBusiness", "With rules of its own", body=wanted)
        path = {"businessId": made["data"]["businessId"]}
        await self.ask("olga", "getBusinesses", "All partners")
        await self.ask("olga", "getBusiness", "One partner", path=path)
        change = {"requireKyc": True, "platformFeeMaximum": 25}
        of = "changeBusiness"
        await self.ask("olga", of, "From the next contract on", path=path, body=change)
        below = {"platformFeeMaximum": 0.125}
        await self.ask("olga", of, "Below its minimum", status=400, path=path, body=below)
        await self.ask("olga", "rotateSecret", "Another secret", path=path)
        await self.ask("olga", "blockBusiness", "Kept out", path=path)
        await self.ask("olga", "unblockBusiness", "Let in again", path=path)

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
