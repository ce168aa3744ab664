"""Nothing that anybody names makes this server dial itself, its network or its cloud.

Every row of the tables below is tried as a partner would: its URL is checked, and if it passes,
something is sent to it with the resolver's answer of that row. Nobody may be dialled.
"""

import ipaddress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earnest.errors import InvalidField
from earnest.outbound.addresses import FORBIDDEN_V4, FORBIDDEN_V6, is_forbidden, is_loopback
from earnest.outbound.answers import Failure
from earnest.outbound.sender import Sender
from earnest.outbound.targets import Target, check_url
from office import PUBLIC, PUBLIC_V6, TRUSTING_NOBODY
from receiver import Dials, Names

LITERALS = """
    127.0.0.1 127.0.0.2 127.255.255.254 127.53.53.53
    0.0.0.0 0.1.2.3
    10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1 192.168.255.255
    169.254.169.254 169.254.170.2 169.254.0.1 100.64.0.1 100.100.100.200 100.127.255.255
    168.63.129.16 192.0.0.192 192.0.0.1 192.0.2.1 198.51.100.7 203.0.113.9
    192.31.196.1 192.52.193.1 192.88.99.1 192.175.48.6 198.18.0.1 198.19.255.255
    224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.254 255.255.255.255
    [::] [::1] [0:0:0:0:0:0:0:1] [::127.0.0.1] [::7f00:1] [::169.254.169.254]
    [::ffff:127.0.0.1] [::ffff:7f00:1] [::ffff:0:127.0.0.1] [::ffff:10.0.0.1] [::ffff:a9fe:a9fe]
    [0:0:0:0:0:FFFF:7F00:0001] [::ffff:93.184.216.34]
    [64:ff9b::7f00:1] [64:ff9b::169.254.169.254] [64:ff9b::93.184.216.34] [64:ff9b:1::a00:1]
    [2002:7f00:1::] [2002:a9fe:a9fe::1] [2002:a00:1::] [2002:5db8:d822::]
    [2001::1] [2001:0:7f00:1::] [2001:0:0:0:0:0:80ff:fffe] [2001:2::1] [2001:10::1] [2001:20::1]
    [2001:db8::1] [2620:4f:8000::1] [3fff::1] [5f00::1] [100::1] [100:0:0:1::1]
    [fc00::1] [fd00:ec2::254] [fd12:3456:789a::1] [fe80::1] [febf::1] [fec0::1] [feff::1]
    [ff00::1] [ff02::1] [ff02::fb] [ff0e::1] [4000::1] [8000::1] [1::1]
""".split()

ODD_SPELLINGS = """
    127.1 127.0.1 0 0x0 0177.0.0.1 0177.0.0.01 00000177.0.0.1 0x7f.1 0x7f.0.0.1 0X7F000001
    0x7f000001 2130706433 017700000001 127.0.0.1.0 127.00.0.1 127.0.0.01 256.0.0.1 1.1.1.256
    4294967295 4294967296 3232235777 0xa9fea9fe 169.254.43518 10.1 192.168.257 1.2.3.4.5 1..2.3
    127.0.0.1. 127.0.0.0x1 foo.1 example.0x 08.8.8.8
    １２７.0.0.1 ①②⑦.⓪.⓪.① 127。0。0。1 １６９.254.169.254 ９３.184.216.34
    [127.0.0.1] [::1%lo] [fe80::1%25eth0] [::1%25lo] [fe80::1%eth0] [::g] [::1::] [1:2:3] [v1.a]
    [2606:2800:220:1:248:1893:25c8:1946%1] [] [::1]] [[::1] ::1
""".split()

NAMES = [
    *"""
        localhost LOCALHOST LocalHost ⓛⓞⓒⓐⓛⓗⓞⓢⓣ localhost. foo.localhost localhost.here.local
        localhost.localdomain router.lan nas.home mail.corp
        metadata metadata.google.internal instance-data.ec2.internal printer.local db
        1.0.0.127.in-addr.arpa router.home.arpa hidden.onion kubernetes.default.svc.cluster.local
        example.com. example.com。 example..com .example.com . .. -example.com example-.com
        a_b.example.com exa%6dple.com exa%00mple.com example.com%2f@127.0.0.1 xn--a.com
        exa!mple.com exa$mple.com *.example.com exa,mple.com exa'mple.com exa"mple.com
        exa<mple.com exa|mple.com exa`mple.com exa{mple.com
    """.split(),
    f"{'a' * 64}.example.com",
    f"{'a.' * 130}com",
    f"{'ü' * 60}.example",
]

# This machine in spellings of its own, which a sandbox may allow.
OWN = """
    127.0.0.1 127.0.0.2 127.255.255.254 127.53.53.53 [::1] [0:0:0:0:0:0:0:1]
    localhost LOCALHOST LocalHost
""".split()

BAD_PORTS = """
    22 25 80 0 443x 0443 +443 -443 444 5432 6379 8080 8444 9200 65536 99999 443:443 ٤٤٣
""".split()

WHOLE_URLS = [
    *(
        f"{scheme}://93.184.216.34/"
        for scheme in "ftp file gopher ws wss ldap dict data jar unix httpx http+unix".split()
    ),
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "javascript:alert(1)",
    "data:text/html,hello",
    "//example.com/",
    "/hooks",
    "hooks",
    "",
    "http:",
    "http://",
    "http:///",
    "http:///example.com/",
    "http:/example.com/",
    "http:example.com",
    "https:\\\\example.com\\",
    "https://?query",
    "https://:443/",
    "https://example.com:/",
    "http://good@127.0.0.1/",
    "https://good.example.com@127.0.0.1/",
    "https://user:password@example.com/",
    "https://@example.com/",
    "https://:@example.com/",
    "https://example.com@/",
    "https://127.0.0.1\\@example.com/",
    "https://example.com\\@127.0.0.1/",
    "https://example.com\\.evil.com/",
    "https://example.com/a\\b",
    "https://example.com/?a\\b",
    "https://example.com/#fragment",
    "https://example.com#@127.0.0.1/",
    "https://example.com/#",
    "https://example.com/\r\nX-Evil: 1",
    "https://example.com/%0d\n",
    "https://example.com\r\n@127.0.0.1/",
    "https://exam\tple.com/",
    "https://example.com/a b",
    " https://example.com/",
    "https://example.com/ ",
    "https://example.com/\n",
    "https://example.com/\x00",
    "https://example.com\x00.evil.com/",
    "https://example.com/\x7f",
    "https://example.com/\x85",
    "https://example.com/\u2028",
    "https://exam\u200bple.com/",
    "https://exam\u00adple.com/",
    "https://\u202eexample.com/",
    "https://example.com/\u202egnp.exe",
    "https://example.com/\ufeff",
    "https://example.com/\u3000",
    "https://example.com/\ud800",
    *(f"https://example.com:{port}/" for port in BAD_PORTS),
    "https://example.com:4 43/",
    "http://example.com:22/",
    "http://example.com:5432/",
    "http://example.com:8080/",
    f"https://93.184.216.34:{'4' * 5000}/",
    f"https://example.com/{'a' * 2029}",
    f"https://example.com/{'ü' * 1000}",
]

REFUSED_URLS = [
    *(f"https://{host}/hooks" for host in (*LITERALS, *ODD_SPELLINGS, *NAMES)),
    *WHOLE_URLS,
]

# What a resolver may say of a name that looks harmless.
ANSWERS = [
    *([literal.strip("[]")] for literal in LITERALS),
    [PUBLIC, "127.0.0.1"],
    ["127.0.0.1", PUBLIC],
    [PUBLIC, PUBLIC_V6, "10.0.0.1"],
    [PUBLIC, "::1"],
    [PUBLIC_V6, "::ffff:169.254.169.254"],
    [*[PUBLIC] * 50, "169.254.169.254"],
    [PUBLIC, "fe80::1%2"],
    [f"{PUBLIC_V6}%1"],
    ["localhost"],
    [PUBLIC, "0177.0.0.1"],
    ["127.1"],
    ["2130706433"],
    [""],
]


def test_the_tables_are_long() -> None:
    assert len(set(REFUSED_URLS)) == len(REFUSED_URLS)
    assert len(REFUSED_URLS) + len(ANSWERS) >= 120


@pytest.mark.abuse(112, 113)
@pytest.mark.parametrize("is_production", [True, False])
@pytest.mark.parametrize("url", REFUSED_URLS)
async def test_it_refuses_the_url_and_dials_nobody(url: str, is_production: bool) -> None:
    tried = await attempt(url, [PUBLIC], is_production=is_production)
    assert isinstance(tried.outcome, InvalidField)
    assert tried.outcome.field == "webhookUrl"
    assert tried.dialled == []


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "host", [host for host in (*LITERALS, *ODD_SPELLINGS, *NAMES) if host not in OWN]
)
async def test_a_sandbox_that_allows_loopback_allows_nothing_else(host: str, scheme: str) -> None:
    tried = await attempt(f"{scheme}://{host}/hooks", ["127.0.0.1"], allow_loopback=True)
    assert isinstance(tried.outcome, InvalidField)
    assert tried.dialled == []


@pytest.mark.parametrize("port", [0, 65_536, 99_999])
def test_loopback_has_no_more_ports_than_anybody(port: int) -> None:
    with pytest.raises(InvalidField):
        checked(f"http://localhost:{port}/", allow_loopback=True)


@pytest.mark.parametrize("host", [*OWN, "127.0.0.1:9999", "localhost:8443"])
async def test_production_never_allows_loopback(host: str) -> None:
    tried = await attempt(
        f"https://{host}/", ["127.0.0.1"], is_production=True, allow_loopback=True
    )
    assert isinstance(tried.outcome, InvalidField)
    assert tried.dialled == []


@pytest.mark.abuse(112)
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("answer", ANSWERS, ids=",".join)
async def test_it_refuses_what_the_name_resolves_to_and_dials_nobody(
    answer: list[str], scheme: str
) -> None:
    tried = await attempt(f"{scheme}://rebound.example.com/", answer)
    assert tried.outcome is Failure.FORBIDDEN_ADDRESS
    assert tried.dialled == []


@pytest.mark.parametrize("answer", ANSWERS, ids=",".join)
async def test_a_name_other_than_localhost_never_means_loopback(answer: list[str]) -> None:
    tried = await attempt("http://rebound.example.com/", answer, allow_loopback=True)
    assert tried.outcome is Failure.FORBIDDEN_ADDRESS
    assert tried.dialled == []


@pytest.mark.parametrize(
    "answer",
    [
        [PUBLIC],
        ["127.0.0.1", PUBLIC],
        ["::1", "10.0.0.1"],
        *(answer for answer in ANSWERS if f"[{answer[0]}]" not in OWN and answer[0] not in OWN),
    ],
    ids=",".join,
)
async def test_localhost_never_means_another_machine(answer: list[str]) -> None:
    tried = await attempt("http://localhost:9000/", answer, allow_loopback=True)
    assert tried.outcome is Failure.FORBIDDEN_ADDRESS
    assert tried.dialled == []


async def test_a_public_answer_is_dialled() -> None:
    """The tables above prove something only if this is what they differ from."""
    tried = await attempt("https://fine.example.com/", [PUBLIC, PUBLIC_V6])
    assert tried.outcome is Failure.CONNECTION_REFUSED
    assert tried.dialled == [(PUBLIC, 443), (PUBLIC_V6, 443)]


# -- what is accepted -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "host", "port", "path", "authority"),
    [
        ("https://example.com", "example.com", 443, "/", "example.com"),
        ("HTTPS://Example.COM:443/Hooks", "example.com", 443, "/Hooks", "example.com"),
        ("https://example.com:8443/a?b=c&d", "example.com", 8443, "/a?b=c&d", "example.com:8443"),
        ("https://example.com?to=http://127.0.0.1/", "example.com", 443, "/?to=http://127.0.0.1/",
         "example.com"),
        ("https://example.com/@127.0.0.1/", "example.com", 443, "/@127.0.0.1/", "example.com"),
        ("https://bücher.example/ü", "xn--bcher-kva.example", 443, "/%C3%BC",
         "xn--bcher-kva.example"),
        ("https://ｅｘａｍｐｌｅ.com/", "example.com", 443, "/", "example.com"),
        ("https://مثال.السعودية/طلب", "xn--mgbh0fb.xn--mgberp4a5d4ar", 443,
         "/%D8%B7%D9%84%D8%A8", "xn--mgbh0fb.xn--mgberp4a5d4ar"),
        ("https://example.com/%0d%0a{}|^`\"<>", "example.com", 443,
         "/%0d%0a%7B%7D%7C%5E%60%22%3C%3E", "example.com"),
        (f"https://{PUBLIC}/", PUBLIC, 443, "/", PUBLIC),
        (f"https://[{PUBLIC_V6.upper()}]:8443/", PUBLIC_V6, 8443, "/", f"[{PUBLIC_V6}]:8443"),
        ("https://1.2.3.4.example.com/", "1.2.3.4.example.com", 443, "/", "1.2.3.4.example.com"),
        ("https://localhost.example.com/", "localhost.example.com", 443, "/",
         "localhost.example.com"),
        ("https://3com.com/", "3com.com", 443, "/", "3com.com"),
        ("https://0xcafe.be/", "0xcafe.be", 443, "/", "0xcafe.be"),
    ],
)  # fmt: skip
def test_it_accepts_a_public_https_url_and_says_it_in_one_way(
    url: str, host: str, port: int, path: str, authority: str
) -> None:
    target = checked(url, is_production=True)
    assert (target.host, target.port, target.path) == (host, port, path)
    assert target.authority == authority
    assert target.url == f"https://{authority}{path}"
    assert not target.is_loopback
    assert checked(target.url, is_production=True) == target
    assert target.url.isascii()


@pytest.mark.parametrize(
    "url", ["http://example.com/", "http://example.com:443/", f"http://{PUBLIC}:8443/"]
)
def test_plain_http_is_for_the_sandbox(url: str) -> None:
    assert checked(url).scheme == "http"
    with pytest.raises(InvalidField, match="must be an https URL"):
        checked(url, is_production=True)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "authority",
    ["localhost", "LOCALHOST:1", "127.0.0.1:22", "127.9.9.9:65535", "[::1]:9000", "[0::1]"],
)
def test_loopback_is_for_a_sandbox_that_allows_it_on_any_port(scheme: str, authority: str) -> None:
    assert checked(f"{scheme}://{authority}/", allow_loopback=True).is_loopback
    with pytest.raises(InvalidField):
        checked(f"{scheme}://{authority}/")


def test_a_url_may_have_2048_characters() -> None:
    url = "https://example.com/"
    assert len(checked(url + "a" * (2048 - len(url))).url) == 2048
    with pytest.raises(InvalidField, match="at most 2048 characters long"):
        checked(url + "a" * (2049 - len(url)))
    with pytest.raises(InvalidField, match="at most 2048 characters when encoded"):
        checked(url + "ü" * 1000)


def test_the_refusal_names_the_field_as_the_caller_wrote_it() -> None:
    with pytest.raises(InvalidField) as refusal:
        check_url("http://[::1]/", allow_loopback=False, is_production=False, field="callbackUrl")
    assert refusal.value.field == "callbackUrl"
    assert refusal.value.expected == "must not be a private, loopback or reserved address"


@given(st.text(max_size=60), st.booleans(), st.booleans())
def test_any_text_is_a_target_or_an_invalid_field(
    text: str, allow_loopback: bool, is_production: bool
) -> None:
    for url in (text, f"https://{text}", f"http://{text}/", f"https://example.com{text}"):
        try:
            target = checked(url, allow_loopback=allow_loopback, is_production=is_production)
        except InvalidField:
            continue
        again = checked(target.url, allow_loopback=allow_loopback, is_production=is_production)
        assert again == target
        assert target.url.isascii()
        assert target.url.isprintable()


# -- the deny list --------------------------------------------------------------------------


@pytest.mark.parametrize("network", [*FORBIDDEN_V4, *FORBIDDEN_V6], ids=str)
def test_a_listed_network_is_forbidden_from_end_to_end(network: IPv4Network | IPv6Network) -> None:
    assert is_forbidden(network[0])
    assert is_forbidden(network[-1])


@pytest.mark.parametrize(
    "address",
    """
    1.0.0.0 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0
    168.63.129.15 168.63.129.17 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0
    191.255.255.255 192.0.1.0 192.0.3.0 192.31.195.255 192.31.197.0 192.52.192.255 192.52.194.0
    192.88.98.255 192.88.100.0 192.167.255.255 192.169.0.0 192.175.47.255 192.175.49.0
    198.17.255.255 198.20.0.0 198.51.99.255 198.51.101.0 203.0.112.255 203.0.114.0
    223.255.255.255 8.8.8.8 93.184.216.34
    2000:: 2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff 2001:200:: 2001:db7:: 2001:db9:: 2003::
    2001:ffff:: 2620:4f:7fff:: 2620:4f:8001:: 2606:4700::1111 3ffe:: 3fff:1000:: 2a00::
    """.split(),
)
def test_its_neighbours_are_not(address: str) -> None:
    assert not is_forbidden(ipaddress.ip_address(address))


@given(st.ip_addresses())
def test_it_forbids_all_that_the_standard_library_calls_special(
    address: IPv4Address | IPv6Address,
) -> None:
    if not address.is_global or address.is_multicast or address.is_reserved:
        assert is_forbidden(address)


@given(st.ip_addresses(v=4))
def test_no_address_is_reached_inside_of_another(address: IPv4Address) -> None:
    inside = int(address)
    for prefix, shift in (
        ("::", 0), ("::ffff:0:0", 0), ("::ffff:0:0:0", 0), ("64:ff9b::", 0), ("64:ff9b:1::", 0),
        ("2002::", 80), ("2001::", 64), ("2001::", 0), ("fe80::5efe:0:0", 0),
    ):  # fmt: skip
        assert is_forbidden(IPv6Address(int(IPv6Address(prefix)) | inside << shift))


@given(st.ip_addresses())
def test_loopback_is_forbidden_unless_it_is_asked_for(address: IPv4Address | IPv6Address) -> None:
    if is_loopback(address):
        assert is_forbidden(address)


# -- tools ----------------------------------------------------------------------------------


def checked(url: str, *, allow_loopback: bool = False, is_production: bool = False) -> Target:
    return check_url(url, allow_loopback=allow_loopback, is_production=is_production)


class Tried(msgspec.Struct, frozen=True):
    """What became of sending something to a URL, and who was dialled on the way."""

    outcome: InvalidField | Failure | None
    dialled: list[tuple[str, int]]


async def attempt(
    url: str, answer: list[str], *, is_production: bool = False, allow_loopback: bool = False
) -> Tried:
    """Do all that is done with a partner's URL while its name resolves to `answer`."""
    dials, names = Dials(), Names(answer)
    try:
        target = checked(url, is_production=is_production, allow_loopback=allow_loopback)
    except InvalidField as refusal:
        return Tried(refusal, dials.made)
    sender = Sender(resolve=names, dial=dials, tls=TRUSTING_NOBODY)
    sent = await sender.post(target, b"{}", {})
    await sender.close()
    assert names.asked == [(target.host, target.port)]
    return Tried(sent.failure, dials.made)
