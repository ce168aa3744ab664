"""The **scenario** behind every example in the API's description, told through the API.

Alice buys, Bob sells, Mallory is another client and Mallet another freelancer, Olga operates. Each
operation is shown with a success and with what it typically refuses; the order is one in which it
all can happen. `recorder` keeps it, `make docs` writes it down, a test tells it again.
"""

from typing import Any

from earnest.actions.core import Core
from earnest.recording.alerts import AlertScenes
from earnest.recording.banks import BankScenes
from earnest.recording.brokerage import BrokerageScenes
from earnest.recording.contracts import UNKNOWN_ID, ContractScenes
from earnest.recording.partners import PartnerScenes
from earnest.recording.payouts import PayoutScenes
from earnest.recording.reconciliation import ReconciliationScenes
from earnest.recording.recorder import Recorder
from earnest.recording.refunds import RefundScenes
from earnest.recording.webhooks import WebhookScenes

PASSWORD = "Cobalt!Kite7"  # noqa: S105  everybody's, in an empty sandbox
NEW_PASSWORD = "Amber!Heron9"  # noqa: S105


def email(name: str) -> str:
    return f"{name}@example.com"


class Scenario:
    """One telling of it. Olga exists already, with PASSWORD."""

    def __init__(self, recorder: Recorder, core: Core, webhook_secret: str) -> None:
        self.ask = recorder.ask
        self._recorder = recorder
        self._ids: dict[str, str] = {}
        self._labels: dict[str, str] = {}
        self._scenes = ContractScenes(recorder, self._ids, self._labels, webhook_secret)
        self._partners = PartnerScenes(recorder)
        self._returning = RefundScenes(recorder, core)
        self._webhooks = WebhookScenes(recorder, core)
        self._brokerage = BrokerageScenes(recorder, core)
        self._paying_out = PayoutScenes(recorder, core, self._ids)
        self._banks = BankScenes(recorder, core)
        self._reconciling = ReconciliationScenes(recorder, core)
        self._alerts = AlertScenes(recorder, core)

    async def tell(self) -> None:
        """All of it."""
        await self._operating()
        await self._sign_up()
        await self._catalog()
        await self._profiles()
        job = await self._jobs()
        await self._scenes.released(job)
        await self._scenes.cancelled()
        await self._scenes.parked()
        await self._users()
        await self._partners.begin()
        await self._partners.businesses()
        await self._partners.users()
        await self._brokerage.tell()
        await self._returning.tell()
        await self._webhooks.tell()
        await self._paying_out.tell()
        await self._banks.tell()
        await self._reconciling.tell()
        await self._refusals()
        await self._passwords()
        await self._alerts.tell()

    # -- accounts -----------------------------------------------------------------------------

    async def _operating(self) -> None:
        await self.ask("", "healthz", "The process answers")
        await self.ask("", "readyz", "Ready")
        await self.ask("", "showMetrics", "The first lines")
        await self.ask("", "readClock", "Business time")

    async def _sign_up(self) -> None:
        for name, role in (
            ("alice", "client"),
            ("bob", "freelancer"),
            ("mallory", "client"),
            ("mallet", "freelancer"),
        ):
            await self._register(name, role, shown=name == "alice")
        await self._sign_in("olga")

    async def _register(self, name: str, role: str, *, shown: bool) -> None:
        def title(text: str) -> str:
            return text if shown else ""

        wanted = {
            "name": name.title(),
            "email": email(name),
            "password": PASSWORD,
            "role": role,
        }
        if shown:
            weak = {**wanted, "password": "alice"}
            await self.ask("", "register", "A weak password", status=400, body=weak)
            admin = {**wanted, "role": "admin"}
            await self.ask("", "register", "Nobody registers as an admin", status=403, body=admin)
        await self.ask("", "register", title("A code is mailed"), body=wanted)
        if shown:
            await self.ask("", "resendOtp", "Another code is mailed", body={"email": email(name)})
        letters = await self.ask(
            "", "mailbox", title("The letters to Alice"), query={"to": email(name)}
        )
        code = {"email": email(name), "otp": letters[0]["code"], "userData": wanted}
        if shown:
            wrong = {**code, "otp": f"{(int(code['otp']) + 1) % 10**6:06d}"}
            await self.ask("", "verifyOtp", "A wrong code", status=400, body=wrong)
        await self.ask("", "verifyOtp", title("The account is made"), body=code)
        if shown:
            await self.ask("", "verifyOtp", "A code that was used up", status=400, body=code)
            wrong_login = {"email": email(name), "password": NEW_PASSWORD}
            await self.ask("", "login", "A wrong password", status=404, body=wrong_login)
        await self._sign_in(name, title("Signed in"))
        if shown:
            await self.ask("", "refreshToken", "A new access token")

    async def _sign_in(self, name: str, title: str = "") -> None:
        body = {"email": email(name), "password": PASSWORD}
        signed_in = await self.ask("", "login", title, body=body)
        self._recorder.tokens[name] = signed_in["accessToken"]
        self._ids[name] = signed_in["user"]["id"]

    async def _passwords(self) -> None:
        change = {
            "email": email("alice"),
            "currentPassword": PASSWORD,
            "newPassword": NEW_PASSWORD,
            "confirmPassword": NEW_PASSWORD,
        }
        wrong = {**change, "currentPassword": "Wrong!Guess1"}
        await self.ask("", "changePassword", "A wrong password", status=404, body=wrong)
        await self.ask("", "changePassword", "Another password", body=change)
        await self.ask("", "forgotPassword", "A link is mailed", body={"email": email("alice")})
        letters = await self.ask("", "mailbox", query={"to": email("alice")})
        reset = {
            "token": letters[0]["link"].rpartition("token=")[2],
            "newPassword": PASSWORD,
            "confirmPassword": PASSWORD,
        }
        await self.ask("", "updateNewPassword", "A new password", body=reset)
        await self.ask("", "updateNewPassword", "A link works once", status=400, body=reset)
        await self._sign_in("alice")
        await self.ask("alice", "logoutAll", "Signed out everywhere")
        own = {"userId": self._ids["alice"]}
        await self.ask("alice", "earnings", "A token from before", status=401, path=own)
        await self.ask("", "logout", "Signed out")
        await self.ask("", "refreshToken", "Nobody is signed in", status=401)
        await self.ask("", "advanceClock", "An hour later", body={"advance_seconds": 3600})
        back = {"advance_seconds": -1}
        await self.ask("", "advanceClock", "Never back", status=400, body=back)

    # -- what jobs are sorted by, and profiles ------------------------------------------------

    async def _catalog(self) -> None:
        for one, name in (("Category", "Design"), ("Skill", "Illustration")):
            several = {"Category": "Categories", "Skill": "Skills"}[one]
            body = {"name": f"{name}s"}
            added = await self.ask("olga", f"add{one}", "Added", body=body)
            self._labels[one] = added["data"]["_id"]
            label = {"labelId": self._labels[one]}
            await self.ask("olga", f"add{one}", "The name is taken", status=409, body=body)
            await self.ask("olga", f"edit{one}", "Renamed", path=label, body={"name": name})
            await self.ask("olga", f"unlist{one}", "No longer offered", path=label)
            await self.ask("olga", f"list{one}", "Offered again", path=label)
            await self.ask("", f"get{several}", "All of them")

    async def _profiles(self) -> None:
        alice, bob = {"userId": self._ids["alice"]}, {"userId": self._ids["bob"]}
        of_alice = {"companyName": "Bakery Lane", "city": "Pune", "country": "India"}
        await self.ask("alice", "updateClientProfile", "Changed", path=alice, body=of_alice)
        await self.ask(
            "mallory", "updateClientProfile", "Not one's own", status=403, path=alice, body=of_alice
        )
        await self.ask("bob", "getClientProfile", "As a freelancer sees it", path=alice)
        of_bob = {
            "title": "Illustrator",
            "bio": "Logos and posters.",
            "experienceLevel": "Expert",
            "skills": [self._labels["Skill"]],
            "jobCategory": self._labels["Category"],
            "portfolio": ["https://portfolio.example/bob"],
        }
        await self.ask("bob", "updateFreelancerProfile", "Changed", path=bob, body=of_bob)
        await self.ask("", "getFreelancerProfile", "As anybody sees it", path=bob)

    # -- jobs ---------------------------------------------------------------------------------

    async def _jobs(self) -> str:
        job = await self._scenes.post_job("Logo for a bakery", 12_000, "Posted")
        path = {"jobId": job}
        change = {"rate": 12_500.5, "startDate": ""}
        await self.ask("alice", "updateJob", "A higher rate", path=path, body=change)
        await self.ask("mallory", "updateJob", "Not one's own", status=403, path=path, body=change)
        paging = {"page": "1", "limit": "10", "sort": "budgetHigh", "filter": "Intermediate"}
        await self.ask("", "getJobs", "A page of open jobs", query=paging | {"search": "logo"})
        mine = {"clientId": self._ids["alice"]}
        await self.ask("alice", "myJobs", "One's own", path=mine)
        await self.ask("bob", "jobDetails", "One job", path=path)
        applied = await self.ask("bob", "applyJob", "Applied", path=path)
        await self.ask("bob", "applyJob", "Applied already", status=409, path=path)
        await self.ask("bob", "appliedJobs", "What Bob applied for")
        both = path | {"freelancerId": self._ids["bob"]}
        await self.ask("", "appliedStatus", "He applied", path=both)
        theirs = path | {"freelancerId": self._ids["mallet"]}
        await self.ask("", "appliedStatus", "He did not", path=theirs)
        await self.ask("alice", "applicants", "Who applied", path=path | mine)
        foreign = path | {"clientId": self._ids["mallory"]}
        await self.ask("", "applicants", "Another client's job", status=403, path=foreign)
        application = {"applicationId": applied["application"]["_id"]}
        await self.ask("mallet", "cancelApplication", "Not one's own", status=403, path=application)
        await self.ask("bob", "cancelApplication", "Withdrawn", path=application)
        await self.ask("bob", "applyJob", path=path)
        return job

    # -- users ------------------------------------------------------------------------------------

    async def _users(self) -> None:
        otto = {"name": "Otto", "email": email("otto"), "password": PASSWORD}
        made = await self.ask("olga", "createAdmin", "Another admin", body=otto)
        await self.ask("olga", "createAdmin", "The address is taken", status=409, body=otto)
        blocked = {
            "Client": self._ids["mallory"],
            "Freelancer": self._ids["mallet"],
            "Admin": made["data"]["_id"],
        }
        for role, user in blocked.items():
            path = {"userId": user}
            query = {"search": "o"} if role == "Admin" else {}
            await self.ask("olga", f"get{role}s", "All of them", query=query)
            await self.ask("olga", f"block{role}", "Blocked", path=path)
            if role == "Client":
                await self.ask(
                    "mallory",
                    "jobDetails",
                    "Who is blocked",
                    status=403,
                    path={"jobId": UNKNOWN_ID},
                )
            await self.ask("olga", f"unblock{role}", "Unblocked", path=path)
        own = {"userId": self._ids["olga"]}
        await self.ask("olga", "blockAdmin", "Not oneself", status=400, path=own)

    # -- what every operation refuses -------------------------------------------------------------

    async def _refusals(self) -> None:
        await self.ask(
            "", "jobDetails", "Nobody is signed in", status=401, path={"jobId": UNKNOWN_ID}
        )
        await self.ask("bob", "createJob", "Another role", status=403, body={})
        plain = {"Content-Type": "text/plain"}
        await self.ask("alice", "createJob", "Not JSON", status=415, headers=plain, raw=b"{}")
        await self.ask("alice", "createJob", "Too large", status=413, raw=b" " * 70_000)
        for of, operation in self._recorder.operations.items():
            if operation.alias_of:
                continue
            who = self._who(of)
            strange = dict.fromkeys(operation.in_path, "x")
            unknown = dict.fromkeys(operation.in_path, UNKNOWN_ID)
            if operation.in_path:
                await self._recorder.try_out(who, of, strange, body=self._sound(of))
                await self._recorder.try_out(who, of, unknown, body=self._sound(of))
            if "page" in operation.in_query:
                known = {
                    **unknown,
                    "clientId": self._ids["alice"],
                    "freelancerId": self._ids["bob"],
                }
                known = {name: known[name] for name in operation.in_path}
                await self._recorder.try_out(who, of, known, query={"page": "0"})
            if operation.body is not None:
                await self._recorder.try_out(who, of, unknown, body=[])
                if operation.needs_body:
                    await self._recorder.try_out(who, of, unknown, body={})

    def _who(self, of: str) -> str:
        """Somebody whom its access admits."""
        roles = self._recorder.operations[of].access.roles
        names = {"client": "alice", "freelancer": "bob", "admin": "olga", "partner": "broker"}
        return next((names[role] for role in names if role in roles), "")

    def _sound(self, of: str) -> Any:
        """A body that was accepted before."""
        for one in self._recorder.examples:
            if one.of == of and one.status < 300:
                return one.body
        return None
