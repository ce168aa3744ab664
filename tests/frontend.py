"""The existing web client, as far as a server can tell (spec 1.1 and 5).

    alice = Frontend(Browser(site.url, CLIENT))
    await alice.login_user("alice@example.com", PASSWORD)
    page = await alice.contract_details(contract)          what the screen reads, typed

One method per function of the client, named as there, with the bodies and queries that were
captured. `Ax` is its authenticated axios: a bearer token from the cookie that scripts read, one
silent refresh after a 401, and the session wiped after any 403. `Pl` sends no Authorization, but
the cookie jar goes along. A refusal raises `Refusal`; `LoggedOut` means that the person now looks
at the login page, which no refusal of business may do to anybody.
"""

from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar

import httpx
import msgspec

import screens
from screens import Toast
from xhr import NodeAdapter

Read = TypeVar("Read")


class Refusal(Exception):
    """What axios rejects with; `text` is on the screen."""

    def __init__(self, answer: httpx.Response) -> None:
        toast = msgspec.json.decode(answer.content, type=Toast)
        assert toast.error == toast.message
        super().__init__(f"{answer.status_code} {toast.error}")
        self.status, self.text = answer.status_code, toast.error


class LoggedOut(Exception):
    """The session is wiped and the login page is shown."""


class Frontend:
    """One tab. Tabs of one browser share its cookies, and so the session."""

    def __init__(self, browser: NodeAdapter) -> None:
        self.browser = browser
        self.user: screens.User | None = None
        self.refreshes = 0

    @property
    def id(self) -> str:
        assert self.user is not None, "nobody is signed in"
        return self.user.id

    @property
    def token(self) -> str | None:
        """The cookie `accessToken`, which scripts write and read."""
        return self.browser.stored

    # -- how it calls ---------------------------------------------------------------------------

    async def ax(self, method: str, path: str, read: type[Read], body: object = None) -> Read:
        answer = await self.browser.send(method, path, body=body, bearer=self.token)
        if answer.status_code == 401:
            try:
                await self.refresh_token()
            except Refusal:
                self._land_on_login(answer)
            answer = await self.browser.send(method, path, body=body, bearer=self.token)
        if answer.status_code == 403:
            self._land_on_login(answer)
        return _decoded(answer, read)

    async def pl(self, method: str, path: str, read: type[Read], body: object = None) -> Read:
        return _decoded(await self.browser.send(method, path, body=body), read)

    def wipe(self) -> None:
        self.browser.store(None)
        self.user = None

    def _land_on_login(self, answer: httpx.Response) -> NoReturn:
        self.wipe()
        request = answer.request
        raise LoggedOut(f"{request.method} {request.url}: {answer.status_code} {answer.text}")

    # -- auth -----------------------------------------------------------------------------------

    async def login_user(self, email: str, password: str) -> screens.LoggedIn:
        body = {"email": email, "password": password}
        found = await self.pl("POST", "/api/auth/login", screens.LoggedIn, body)
        self.browser.store(found.access_token)
        self.user = found.user
        return found

    async def register_user(self, data: Mapping[str, str]) -> screens.Told:
        return await self.pl("POST", "/api/auth/register", screens.Told, data)

    async def verify_otp(self, email: str, otp: str, user_data: Mapping[str, str]) -> screens.Told:
        body = {"email": email, "otp": otp, "userData": user_data}
        return await self.ax("POST", "/api/auth/verify-otp", screens.Told, body)

    async def resend_otp(self, email: str) -> screens.Told:
        return await self.pl("POST", "/api/auth/resend-otp", screens.Told, {"email": email})

    async def refresh_token(self) -> None:
        self.refreshes += 1
        found = await self.pl("POST", "/api/auth/refresh-token", screens.Refreshed, {})
        self.browser.store(found.access_token)

    async def logout_user(self) -> None:
        await self.ax("POST", "/api/auth/logout", screens.Told)
        self.wipe()

    async def request_password_reset(self, email: str, current: str, new: str) -> screens.Told:
        body = {
            "email": email,
            "currentPassword": current,
            "newPassword": new,
            "confirmPassword": new,
        }
        return await self.pl("POST", "/api/auth/reset-password", screens.Told, body)

    async def forgot_password(self, email: str) -> screens.Told:
        return await self.pl("POST", "/api/auth/forgot-password", screens.Told, {"email": email})

    async def reset_password_with_token(self, token: str, new: str) -> screens.Told:
        body = {"token": token, "newPassword": new, "confirmPassword": new}
        return await self.pl("POST", "/api/auth/update-new-password", screens.Told, body)

    # -- jobs and applications ------------------------------------------------------------------

    async def create_job(self, **data: Any) -> None:
        await self.ax("POST", "/api/client/job/create-job", Any, {"userId": self.id, **data})

    async def fetch_my_jobs(self, client: str, **query: object) -> screens.Jobs:
        return await self.pl("GET", f"/api/client/job/my-jobs/{client}{_q(query)}", screens.Jobs)

    async def fetch_all_jobs(self, **query: object) -> screens.Jobs:
        return await self.pl("GET", f"/api/client/job/get-jobs{_q(query)}", screens.Jobs)

    async def job_details(self, job: str) -> screens.Job:
        path = f"/api/client/job/job-details/{job}"
        return (await self.ax("GET", path, screens.JobPage)).data

    async def update_job(self, job: str, **data: Any) -> None:
        await self.ax("PUT", f"/api/client/job/update-job/{job}", Any, data)

    async def show_applicants(self, job: str, client: str) -> list[screens.Applicant]:
        path = f"/api/client/job/applicants/{job}/{client}"
        return (await self.pl("GET", path, screens.Applicants)).applicants

    async def apply_job(self, job: str) -> screens.Told:
        return await self.ax("POST", f"/api/freelancer/jobs/apply-job/{job}", screens.Told)

    async def cancel_application(self, application: str) -> None:
        await self.ax("DELETE", f"/api/freelancer/jobs/cancel-application/{application}", Any)

    async def view_applied_jobs(self) -> list[screens.Application]:
        path = "/api/freelancer/jobs/applied-jobs"
        return (await self.ax("GET", path, screens.Applications)).applications

    async def get_applicant_status(self, job: str, user: str) -> bool | None:
        path = f"/api/freelancer/jobs/applied-status/{job}/{user}"
        found = (await self.pl("GET", path, screens.MaybeApplied)).application
        return None if found is None else found.is_applied

    # -- contracts ------------------------------------------------------------------------------

    async def create_contract(self, job: str, freelancer: str, amount: float) -> screens.Told:
        path = f"/api/client/contract/create-contract/{job}"
        body = {"freelancerId": freelancer, "amount": amount}
        return await self.ax("POST", path, screens.Told, body)

    async def is_contract_created(self, job: str, user: str) -> screens.ContractOfJob | None:
        path = f"/api/client/contract/is-created/{job}/{user}"
        return (await self.ax("GET", path, screens.IsCreated)).contract

    async def get_client_contracts(self, client: str) -> list[screens.ClientRow]:
        path = f"/api/client/contract/get-contracts/{client}"
        return (await self.pl("GET", path, screens.ClientContracts)).data

    async def delete_contract(self, contract: str) -> screens.Told:
        path = f"/api/client/contract/cancel-contract/{contract}"
        return await self.ax("DELETE", path, screens.Told)

    async def release_fund_request(self, contract: str) -> None:
        await self.ax("PATCH", f"/api/client/contract/release-fund/{contract}", Any)

    async def approve_contract(self, contract: str, freelancer: str) -> None:
        path = f"/api/freelancer/contract/approve-contract/{contract}/{freelancer}"
        await self.ax("POST", path, Any)

    async def get_contracts(self, freelancer: str) -> list[screens.FreelancerRow]:
        path = f"/api/freelancer/contract/get-contracts/{freelancer}"
        return (await self.ax("GET", path, screens.FreelancerContracts)).contracts

    async def contract_details(self, contract: str) -> screens.Contract:
        path = f"/api/freelancer/contract/view-contract/{contract}"
        return (await self.pl("GET", path, screens.ContractPage)).contract

    async def update_work_status(self, contract: str, status: str) -> screens.Told:
        path = f"/api/freelancer/contract/update-status/{contract}"
        return await self.ax("PUT", path, screens.Told, {"status": status})

    async def get_completed_works(self, freelancer: str) -> list[screens.Work]:
        path = f"/api/freelancer/contract/completed-works/{freelancer}"
        return (await self.ax("GET", path, screens.CompletedWorks)).contracts

    async def pay_now(self, job: str, title: str, rate: float, freelancer: str) -> str:
        """The checkout session to which the browser is sent."""
        body = {"title": title, "rate": rate, "freelancerId": freelancer}
        return (await self.ax("POST", f"/api/client/job/payment/{job}", screens.Session, body)).id

    async def fetch_all_contracts(self) -> list[screens.AdminRow]:
        path = "/api/client/contract/all-contracts"
        return (await self.pl("GET", path, screens.AllContracts)).data

    # -- money ----------------------------------------------------------------------------------

    async def escrow_balance(self) -> float:
        return (await self.ax("GET", "/api/admin/escrow/balance", screens.Figure)).data

    async def total_revenue(self) -> float:
        return (await self.ax("GET", "/api/admin/escrow/total-revenue", screens.Figure)).data

    async def escrow_transactions(self) -> list[screens.Transaction]:
        path = "/api/admin/escrow/transactions"
        return (await self.ax("GET", path, screens.Transactions)).data

    async def sales_report(self) -> list[screens.Sale]:
        return (await self.ax("GET", "/api/admin/escrow/sales-report", screens.Sales)).data

    async def release_fund(self, contract: str) -> None:
        await self.ax("PUT", f"/api/admin/escrow/release-fund/{contract}", Any)

    async def refund_to_client(
        self, contract: str, client: str, reason: str | None = None, description: str = ""
    ) -> None:
        """The client's page asks for reasons in a dialog; without them there is no body."""
        path = f"/api/admin/escrow/refund-client/{contract}/{client}"
        body = None
        if reason is not None:
            body = {"cancelReason": reason, "cancelReasonDescription": description}
        await self.ax("PUT", path, Any, body)

    async def get_wallet(self, user: str) -> screens.Wallet | None:
        path = f"/api/freelancer/wallet/earnings/{user}"
        return (await self.ax("GET", path, screens.MaybeWallet)).data

    async def wallet_transactions(self, wallet: str) -> list[screens.WalletLine]:
        path = f"/api/freelancer/wallet/transactions/{wallet}"
        return (await self.ax("GET", path, screens.WalletLines)).data

    async def get_sales_report(self, user: str) -> list[screens.Month]:
        path = f"/api/freelancer/wallet/user-sales-report/{user}"
        return (await self.ax("GET", path, screens.Months)).data

    # -- reviews, profiles ----------------------------------------------------------------------

    async def review_freelancer(
        self, contract: str, freelancer: str, rating: int, description: str
    ) -> None:
        body = {
            "contractId": contract,
            "freelancerId": freelancer,
            "rating": rating,
            "description": description,
        }
        await self.ax("POST", f"/api/client/review/rate-freelancer/{self.id}", Any, body)

    async def get_freelancer_reviews(self, freelancer: str) -> list[screens.Review]:
        path = f"/api/client/review/show-reviews/{freelancer}"
        return (await self.pl("GET", path, screens.Reviews)).data

    async def client_profile(self, user: str) -> screens.ClientProfile:
        path = f"/api/client/profile/get-profile/{user}"
        return (await self.ax("GET", path, screens.ClientProfilePage)).data

    async def freelancer_profile(self, user: str) -> screens.FreelancerProfile:
        path = f"/api/freelancer/profile/get-profile/{user}"
        return (await self.pl("GET", path, screens.FreelancerProfilePage)).data

    async def update_profile(self, role: str, user: str, **data: Any) -> screens.Told:
        path = f"/api/{role}/profile/update-profile/{user}"
        return await self.ax("PUT", path, screens.Told, data)

    # -- the admin's pages ----------------------------------------------------------------------

    async def users(self, role: str) -> list[screens.UserRow]:
        return (await self.ax("GET", f"/api/admin/users/get-{role}s", screens.Users)).data

    async def block(self, role: str, user: str) -> screens.UserRow:
        path = f"/api/admin/users/block-{role}/{user}"
        return (await self.ax("PUT", path, screens.UserSaved)).data

    async def unblock(self, role: str, user: str) -> screens.UserRow:
        path = f"/api/admin/users/unblock-{role}/{user}"
        return (await self.ax("PUT", path, screens.UserSaved)).data

    async def labels(self, several: str) -> list[screens.Label]:
        return (await self.pl("GET", f"/api/admin/{several}/get-{several}", screens.Labels)).data

    async def add_label(self, several: str, name: str) -> None:
        await self._label("POST", several, "add", {"name": name})

    async def edit_label(self, several: str, label: str, name: str) -> None:
        await self._label("PUT", several, "edit", {"name": name}, label)

    async def list_label(self, several: str, label: str) -> None:
        await self._label("PUT", several, "list", None, label)

    async def unlist_label(self, several: str, label: str) -> None:
        await self._label("PUT", several, "unlist", None, label)

    async def _label(
        self, method: str, several: str, verb: str, body: object, label: str = ""
    ) -> None:
        one = {"categories": "category", "skills": "skills"}[several]
        path = f"/api/admin/{several}/{verb}-{one}" + (f"/{label}" if label else "")
        await self.ax(method, path, screens.Succeeded, body)


def _q(query: Mapping[str, object]) -> str:
    """As the client writes it: what a page does not know is the word `undefined`."""
    names = ("page", "limit", "search", "sort", "filter")
    return "?" + "&".join(f"{name}={query.get(name, 'undefined')}" for name in names)


def _decoded(answer: httpx.Response, read: type[Read]) -> Read:
    if not answer.is_success:
        raise Refusal(answer)
    return msgspec.json.decode(answer.content, type=read)
