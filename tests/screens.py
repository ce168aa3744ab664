"""What the **screens** of the existing web client read from each answer (spec section 5).

A struct holds the fields that a screen reads, with the type it needs: a number that it calls
`.toFixed` on is a number, a party whose name it shows is there. Decoding an answer into it fails
where a screen would crash; what no screen reads is ignored, as the client does.
"""

from typing import Annotated, Literal

import msgspec

Id = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{24}\Z")]
Moment = Annotated[str, msgspec.Meta(pattern=r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")]
Words = Annotated[str, msgspec.Meta(min_length=1)]
Number = float
Role = Literal["client", "freelancer", "admin"]
Status = Literal["Pending", "Started", "Ongoing", "Completed", "Canceled"]
Level = Literal["Beginner", "Intermediate", "Expert"]


class Shown(msgspec.Struct, rename="camel", kw_only=True):
    """Something on a screen."""


class Document(Shown, kw_only=True):
    id: Id = msgspec.field(name="_id")


class Named(Document, kw_only=True):
    name: Words


class Titled(Shown, kw_only=True):
    title: Words


class NameAlone(Shown, kw_only=True):
    name: Words


class Addressed(Shown, kw_only=True):
    """A party whose address is shown where the server tells it (D8)."""

    name: Words
    email: str = ""


class Party(Addressed, kw_only=True):
    id: Id = msgspec.field(name="_id")


class Told(Shown, kw_only=True):
    message: Words


class Toast(Shown, kw_only=True):
    """A refusal; some screens read one of them, some the other."""

    error: Words
    message: Words


# -- accounts ---------------------------------------------------------------------------------


class User(Shown, kw_only=True):
    id: Id
    email: Words
    status: Literal["Active"]
    profile_pic: str
    name: Words


class LoggedIn(Shown, kw_only=True):
    role: Role
    access_token: Words
    user: User


class Refreshed(Shown, kw_only=True):
    access_token: Words


class UserRow(Named, kw_only=True):
    email: Words
    status: Literal["Active", "Blocked"]


class Users(Shown, kw_only=True):
    success: Literal[True]
    data: list[UserRow]


class UserSaved(Shown, kw_only=True):
    success: Literal[True]
    data: UserRow


# -- jobs and applications --------------------------------------------------------------------


class JobCard(Document, kw_only=True):
    title: Words
    description: Words
    rate: Number
    experience_level: Level
    skills: list[Named]
    category: NameAlone
    created_at: Moment
    applicants: int


class Jobs(Shown, kw_only=True):
    jobs: list[JobCard]
    total: int


class Job(Document, kw_only=True):
    title: Words
    description: Words
    rate: Number
    experience_level: Level
    location: Words
    status: Literal["Open", "Ongoing", "Closed"]
    applicants: int
    created_at: Moment
    category: Named
    skills: list[Named]
    client_id: Named
    start_date: Moment | None = None
    end_date: Moment | None = None


class JobPage(Shown, kw_only=True):
    data: Job


class ApplicantProfile(Shown, kw_only=True):
    user_id: Id
    first_name: Words
    profile_pic: str
    title: str
    experience_level: str


class Applicant(Document, kw_only=True):
    freelancer_id: ApplicantProfile


class Applicants(Shown, kw_only=True):
    applicants: list[Applicant]


class AppliedJob(Titled, kw_only=True):
    id: Id = msgspec.field(name="_id")
    client_id: NameAlone


class Application(Document, kw_only=True):
    job_id: AppliedJob


class Applications(Shown, kw_only=True):
    applications: list[Application]


class ApplicantStatus(Shown, kw_only=True):
    is_applied: Literal[True]


class MaybeApplied(Shown, kw_only=True):
    application: ApplicantStatus | None


# -- contracts --------------------------------------------------------------------------------


class ContractOfJob(Document, kw_only=True):
    """`freelancer_id` is compared with `===`: a plain id."""

    freelancer_id: Id
    escrow_paid: bool


class IsCreated(Shown, kw_only=True):
    contract: ContractOfJob | None


class ContractRow(Document, kw_only=True):
    contract_id: Words
    amount: Number
    status: Status


class ClientRow(ContractRow, kw_only=True):
    is_deleted: bool
    job_id: Titled
    freelancer_id: Named


class ClientContracts(Shown, kw_only=True):
    data: list[ClientRow]


class FreelancerRow(ContractRow, kw_only=True):
    is_deleted: bool
    is_approved: bool
    job_id: Titled
    client_id: Named


class FreelancerContracts(Shown, kw_only=True):
    contracts: list[FreelancerRow]


class AdminRow(ContractRow, kw_only=True):
    escrow_paid: bool
    release_fund_status: Literal["NotRequested", "Requested", "Approved"]
    client_id: NameAlone
    freelancer_id: NameAlone


class AllContracts(Shown, kw_only=True):
    data: list[AdminRow]


class Step(Shown, kw_only=True):
    status: Status
    timestamp: Annotated[str, msgspec.Meta(pattern=r"\A\d\d-\d\d-\d\d\Z")]


class BriefJob(Document, kw_only=True):
    title: Words
    description: Words
    rate: Number


class Contract(ContractRow, kw_only=True):
    escrow_paid: bool
    is_approved: bool
    release_fund_status: Literal["NotRequested", "Requested", "Approved"]
    created_at: Moment
    status_history: list[Step]
    canceled_by: Literal["Client", "Freelancer"] | None
    cancel_reason: str
    cancel_reason_description: str
    job_id: BriefJob
    client_id: Party
    freelancer_id: Party

    @property
    def steps(self) -> list[str]:
        return [step.status for step in self.status_history]


class ContractPage(Shown, kw_only=True):
    contract: Contract


class WorkedJob(Shown, kw_only=True):
    title: Words
    description: Words
    rate: Number


class Work(Document, kw_only=True):
    status: Literal["Completed"]
    job_id: WorkedJob
    client_id: Addressed


class CompletedWorks(Shown, kw_only=True):
    contracts: list[Work]


class Session(Shown, kw_only=True):
    id: Words


# -- money ------------------------------------------------------------------------------------


class Figure(Shown, kw_only=True):
    data: Number


class Transaction(Document, kw_only=True):
    amount: Number
    platform_fee: Number
    created_at: Moment
    transaction_type: Literal["credit", "debit"]
    status: Literal["funded", "released", "refunded", "canceled"]
    client_id: NameAlone


class Transactions(Shown, kw_only=True):
    data: list[Transaction]


class Sale(Shown, kw_only=True):
    created_at: Moment
    amount: Number
    freelancer_earning: Number
    platform_fee: Number


class Sales(Shown, kw_only=True):
    data: list[Sale]


class Wallet(Document, kw_only=True):
    balance: Number


class MaybeWallet(Shown, kw_only=True):
    data: Wallet | None


class WalletLine(Shown, kw_only=True):
    description: Words
    contract_id: Words
    date: Moment
    type: Literal["credit", "debit"]
    amount: Number


class WalletLines(Shown, kw_only=True):
    data: list[WalletLine]


class Month(Shown, kw_only=True):
    month: Annotated[str, msgspec.Meta(pattern=r"\A\d{4}-\d\d\Z")]
    total_revenue: Number


class Months(Shown, kw_only=True):
    data: list[Month]


# -- reviews, profiles, labels ----------------------------------------------------------------


class Review(Document, kw_only=True):
    rating: int
    description: Words
    created_at: Moment
    client_id: Addressed


class Reviews(Shown, kw_only=True):
    data: list[Review]


class ProfileOwner(Shown, kw_only=True):
    email: str = ""


class ClientProfile(Document, kw_only=True):
    user_id: ProfileOwner
    first_name: Words
    profile_pic: str


class ClientProfilePage(Shown, kw_only=True):
    data: ClientProfile


class FreelancerProfile(Document, kw_only=True):
    first_name: Words
    title: str
    profile_pic: str
    experience_level: str
    skills: list[Named]
    job_category: Named | None


class FreelancerProfilePage(Shown, kw_only=True):
    data: FreelancerProfile


class Label(Named, kw_only=True):
    is_listed: bool


class Labels(Shown, kw_only=True):
    success: Literal[True]
    data: list[Label]


class Succeeded(Shown, kw_only=True):
    success: Literal[True]
