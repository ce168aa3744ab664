"""The refusals of the table in `earnest.domain.rules`, in the words that people read."""

from earnest.errors import Forbidden, NotFound, Refused


class NotYourContract(Forbidden):
    """This contract is not yours."""


class WrongRole(Forbidden):
    """Unauthorized Access"""


class AlreadyCanceled(Refused):
    """This contract is already canceled."""


class ContractEnded(Refused):
    """This contract has ended."""


class AlreadyApproved(Refused):
    """This contract is already approved."""


class NotApproved(Refused):
    """The freelancer has to approve the contract first."""


class NotFunded(Refused):
    """The contract has to be paid for first."""


class AlreadyFunded(Refused):
    """This contract is already paid for."""


class AlreadySettled(Refused):
    """The money of this contract has already gone where it belongs."""


class NotInThisWorkState(Refused):
    """The work is not at a point where this is possible."""


class CompletedAndFunded(Refused):
    """Completed work that is paid for cannot be canceled."""


class NotCompleted(Refused):
    """You can request release only after work completion."""


class ReleaseAlreadyRequested(Refused):
    """The release of these funds is already requested."""


class AlreadyReleased(Refused):
    """Funds have already been released for this contract."""


class AlreadyRefunded(Refused):
    """Funds have already been refunded for this contract."""


class RefundPending(Refused):
    """A refund is pending for this contract."""


class ReleaseNotRequested(Refused):
    """The client has not requested the release of these funds."""


class EscrowNotFound(NotFound):
    """Escrow not found for the contract id"""


class NothingHeld(Refused):
    """Nothing is held for this contract."""


class RefundOfFinished(Refused):
    """Refund not allowed for a finished contract"""


class ChargedBackNow(Refused):
    """The buyer's bank wants this money back: it stays where it is until that is decided."""


class InDispute(Refused):
    """This contract is in dispute."""


class PaidFor(Refused):
    """This contract is paid for: refund it instead."""


class AlreadyDelivered(Refused):
    """This contract is already delivered."""


class AlreadyReceived(Refused):
    """This contract is already received."""


class AlreadyInDispute(Refused):
    """This contract is already in dispute."""


class NotInDispute(Refused):
    """This contract is not in dispute."""


class NotClaimable(Refused):
    """Contract is already exist"""
