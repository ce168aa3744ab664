"""The Arabic of what the partner API says. A test holds it against every refusal there is."""

import re

SENTENCES = {
    "Validation failed": "فشل التحقق من صحة البيانات",
    "Contract not found": "العقد غير موجود",
    "Invalid contract ID": "رقم العقد غير صالح",
}

PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"must be greater than 0"), "يجب أن يكون أكبر من 0"),
)
