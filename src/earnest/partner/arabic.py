"""The Arabic of what the partner API says. A test holds it against every refusal there is."""

import re

SENTENCES = {
    "Validation failed": "فشل التحقق من صحة البيانات",
    "Contract not found": "العقد غير موجود",
    "Invalid contract ID": "رقم العقد غير صالح",
    "User not found": "المستخدم غير موجود",
    "Webhook not found": "لا يوجد رابط إشعارات",
    "Delivery not found": "الإشعار غير موجود",
    "The webhook is disabled. Send its URL again to enable it.": (
        "رابط الإشعارات معطّل. أرسل عنوانه مرة أخرى لتفعيله."
    ),
    "Invalid webhook URL": "رابط الإشعارات غير صالح",
    "must be a valid HTTP or HTTPS URL": "يجب أن يكون رابط HTTP أو HTTPS صالحًا",
    "must be an https URL": "يجب أن يكون رابط https",
    "must name a public host": "يجب أن يشير إلى خادم عام",
    "must name a valid host": "يجب أن يحتوي على اسم خادم صالح",
    "must not be a private, loopback or reserved address": (
        "يجب ألا يكون عنوانًا خاصًا أو محليًا أو محجوزًا"
    ),
    "must not contain a user name or password": "يجب ألا يحتوي على اسم مستخدم أو كلمة مرور",
    "must not contain spaces, backslashes, control or invisible characters": (
        "يجب ألا يحتوي على مسافات أو شرطات مائلة عكسية أو رموز تحكم أو رموز غير مرئية"
    ),
    "must not have a fragment": "يجب ألا يحتوي على جزء بعد علامة #",
    "is required without another filter": "مطلوب ما لم يُذكر شرط آخر",
    "must be a UUID": "يجب أن يكون معرّف UUID",
    "must be an ISO 8601 instant in UTC such as 2026-06-01T00:00:00.000Z": (
        "يجب أن يكون وقتًا بتوقيت UTC وبصيغة ISO 8601 مثل 2026-06-01T00:00:00.000Z"
    ),
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
    (re.compile(r"must be one of (.+)"), "يجب أن يكون من القيم التالية: {}"),
    (re.compile(r"must use port (.+)"), "يجب أن يستخدم أحد المنافذ التالية: {}"),
    (re.compile(r"means more than (.+) events: ask for less"), "يشمل أكثر من {} حدث: اطلب أقل"),
    (
        re.compile(r"must be a whole number from ([0-9]+) to ([0-9]+)"),
        "يجب أن يكون عددًا صحيحًا من {} إلى {}",
    ),
    (re.compile(r"must be at most ([0-9]+) characters long"), "يجب ألا يزيد على {} حرفًا"),
    (
        re.compile(r"must be ([A-Z]{2}) and ([0-9]+) (?:digits|letters and digits)"),
        "يجب أن يتكون من {} ثم {} خانة",
    ),
)
