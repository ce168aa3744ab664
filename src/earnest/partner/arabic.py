"""The Arabic of what the partner API says. A test holds it against every refusal there is."""

import re

SENTENCES = {
    "Validation failed": "فشل التحقق من صحة البيانات",
    "Contract not found": "العقد غير موجود",
    "Invalid contract ID": "رقم العقد غير صالح",
    "User not found": "المستخدم غير موجود",
    "is required": "مطلوب",
    "must contain a letter": "يجب أن يحتوي على حرف",
    "must not contain control or invisible characters": (
        "يجب ألا يحتوي على رموز تحكم أو رموز غير مرئية"
    ),
    "must be 8 to 15 digits, beginning with the country code, without + or spaces": (
        "يجب أن يتكون من 8 إلى 15 رقمًا تبدأ برمز الدولة، من دون + أو مسافات"
    ),
    "must be 10 digits, the first of them 1 or 2": "يجب أن يتكون من 10 أرقام أولها 1 أو 2",
    "must be a day, YYYY-MM-DD": "يجب أن يكون تاريخًا بالصيغة YYYY-MM-DD",
    "must be a day in the past": "يجب أن يكون تاريخًا ماضيًا",
    "must be an IBAN, such as SA and 22 digits": "يجب أن يكون رقم آيبان، مثل SA ثم 22 رقمًا",
    "is mistyped: its check digits do not fit": "فيه خطأ: أرقام التحقق غير مطابقة",
    "must be a BIC of 8 or 11 characters, such as RJHISARI": (
        "يجب أن يكون رمز بنك من 8 أو 11 حرفًا ورقمًا، مثل RJHISARI"
    ),
}

PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"must be greater than 0"), "يجب أن يكون أكبر من 0"),
    (re.compile(r"must be at most ([0-9]+) characters long"), "يجب ألا يزيد على {} حرفًا"),
    (
        re.compile(r"must be ([A-Z]{2}) and ([0-9]+) (?:digits|letters and digits)"),
        "يجب أن يتكون من {} ثم {} خانة",
    ),
)
