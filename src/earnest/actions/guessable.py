"""**Guessable** passwords: those that everybody tries first, though they pass the rule.

Whoever must use a capital, a digit and a special character takes a word from the top of every
leaked list and decorates it: Password1!, P@ssw0rd, Welcome@2024, Qwerty123!. A list of such
passwords would have to be long and would still miss next year's, so the decoration is undone:
case, look-alike characters, and the digits and signs around the word. Invariant: what is left of
a guessable password is one of a few dozen words, and the digits around it are a year, a run or a
repetition; any longer or odder password passes.
"""

import re

WORDS = frozenset(
    """
    aa abc abcd abcde abcdef admin administrator angel asdf asdfgh asdfghjkl azerty baseball
    batman charlie changeme computer default dragon earnest flower football freedom guest hello
    iloveyou india jesus jordan killer krishna letmein login lovely loveme manager master
    michael monkey mustang mypassword mypass naruto nothing passwd password passwords passw
    pokemon princess qaz qazqaz qazwsx qazwsxedc qwer qwert qwerty qwertyuiop root samsung shadow
    soccer spring starwars summer autumn winter sunshine superman superuser sysadmin temp trustno
    user welcome whatever zaqwsx zaqzaq zxcv zxcvbn zxcvbnm
    """.split()
)

_ENDS = re.compile(r"\A([^a-z]*)(.*?)([^a-z]*)\Z", re.DOTALL)
_LOOK_ALIKES = (
    str.maketrans("013457@$!", "oleastasi"),
    str.maketrans("013457@$!", "oieastasl"),
)
_RUNS = ("01234567890", "9876543210", "1234567890")
_YEAR = re.compile(r"(19[5-9]|20[0-4])[0-9]")
_REPEATED = re.compile(r"(.+?)\1+", re.DOTALL)


def is_guessable(password: str) -> bool:
    """Whether this is a well-known word with the usual decoration.

    >>> [is_guessable(each) for each in ("P@ssw0rd1!", "Welcome@2024", "Kettle$41 Harbour")]
    [True, True, False]
    """
    found = _ENDS.match(password.lower())
    assert found is not None, "it matches every text"
    head, core, tail = found.groups()
    digits = re.sub(r"[^0-9]", "", head + tail)
    return _is_usual(digits) and not WORDS.isdisjoint(_readings(core))


def _readings(core: str) -> set[str]:
    """The words that this may be meant to be: look-alikes read as letters, or left out."""
    readings = {re.sub(r"[^a-z]", "", core)}
    for table in _LOOK_ALIKES:
        readings.add(core.translate(table))
        readings.add(re.sub(r"[^a-z0-9]", "", core).translate(table))
    return readings


def _is_usual(digits: str) -> bool:
    """1, 123, 321, 2024, 11, 7777, 1212, or none at all."""
    return (
        digits in ("", "0", "1", "007")
        or _YEAR.fullmatch(digits) is not None
        or _REPEATED.fullmatch(digits) is not None
        or (len(digits) > 1 and any(digits in run for run in _RUNS))
    )
