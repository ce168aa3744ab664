"""The **Arabic** of what the partner API says, for callers who read it (E11).

SENTENCES are whole messages and expectations; PATTERNS those with something in them; NOUNS what a
JSON value is called inside of one. A test holds them against every refusal that partners' routes
declare and every expectation in the sources behind them.
"""

import re

SENTENCES = {
    # -- anything at all
    "Validation failed": "فشل التحقق من صحة البيانات",
    "Access denied. No token provided.": "تم رفض الوصول: لم يُرسل رمز الدخول.",
    "Invalid authentication token.": "رمز الدخول غير صالح.",
    "Unauthorized Access": "وصول غير مصرح به",
    "User not found, try to signup": "الحساب غير موجود",
    "Your account is blocked": "حسابك موقوف",
    "There is nothing here.": "لا يوجد شيء هنا.",
    "This method is not allowed here.": "هذه الطريقة غير مسموح بها هنا.",
    "The request is not valid.": "الطلب غير صالح.",
    "The rules do not allow this now.": "القواعد لا تسمح بهذا الآن.",
    "Too many requests. Wait before you try again.": (
        "عدد الطلبات كبير جدًا. انتظر قليلًا ثم أعد المحاولة."
    ),
    "Internal server error": "خطأ داخلي في الخادم",
    "The server cannot do this right now. Nothing was changed; try again.": (
        "لا يستطيع الخادم تنفيذ هذا الآن. لم يتغير شيء، أعد المحاولة."
    ),
    "The server is shutting down. Nothing was changed.": "الخادم قيد الإيقاف. لم يتغير شيء.",
    "All database connections are busy. Try again.": (
        "جميع اتصالات قاعدة البيانات مشغولة. أعد المحاولة."
    ),
    "The database cannot be reached. Try again.": "تعذر الوصول إلى قاعدة البيانات. أعد المحاولة.",
    "The database did not answer. If you do not know whether this was done, ask again with the"
    " same Idempotency-Key, or look.": (
        "لم تستجب قاعدة البيانات. إن لم تكن متأكدًا من تنفيذ طلبك فأعد إرساله بالمفتاح"
        " Idempotency-Key نفسه، أو تحقق من النتيجة."
    ),
    "The connection to the database broke and the outcome could not be looked up. Repeat the"
    " request with the same Idempotency-Key, or read what it was meant to change.": (
        "انقطع الاتصال بقاعدة البيانات وتعذرت معرفة النتيجة. أعد إرسال الطلب بالمفتاح"
        " Idempotency-Key نفسه، أو اقرأ ما كان سيغيره."
    ),
    "Somebody else changed this at the same moment. Try again.": (
        "تم تغيير هذا في اللحظة نفسها من جهة أخرى. أعد المحاولة."
    ),
    "This Idempotency-Key was already used for a different request.": (
        "سبق استخدام هذا المفتاح Idempotency-Key لطلب مختلف."
    ),
    "This was done, and its answer carried a secret, which is not kept longer than a day. Ask for"
    " a new secret under another Idempotency-Key.": (
        "تم تنفيذ هذا الطلب، وكان رده يحمل سرًا لا يُحتفظ به أكثر من يوم. اطلب سرًا جديدًا بمفتاح"
        " Idempotency-Key آخر."
    ),
    "Identities cannot be verified here right now. Try again later.": (
        "لا يمكن التحقق من الهويات هنا الآن. أعد المحاولة لاحقًا."
    ),
    # -- bodies that cannot be read
    "Send JSON: Content-Type application/json, UTF-8, without Content-Encoding.": (
        "أرسل JSON بترميز UTF-8 ونوع المحتوى application/json ومن دون Content-Encoding."
    ),
    "Send a JSON object.": "أرسل كائن JSON.",
    "The body is too large.": "محتوى الطلب أكبر من المسموح به.",
    "The body is not the JSON that was asked for.": "محتوى الطلب ليس JSON المطلوب.",
    "The body must be an object.": "يجب أن يكون محتوى الطلب كائنًا.",
    "The body starts with a byte order mark.": "يبدأ محتوى الطلب بعلامة ترتيب البايتات.",
    "The body is nested too deeply.": "مستويات التداخل في محتوى الطلب كثيرة جدًا.",
    "The body is not valid UTF-8.": "محتوى الطلب ليس UTF-8 صالحًا.",
    "A text contains characters that are not allowed.": "يحتوي أحد النصوص على رموز غير مسموح بها.",
    "A number has too many digits.": "يحتوي أحد الأعداد على أرقام أكثر من المسموح به.",
    "A number is out of range.": "أحد الأعداد خارج النطاق المسموح به.",
    "An object has the same key twice.": "يحتوي أحد الكائنات على المفتاح نفسه مرتين.",
    # -- contracts
    "Contract not found": "العقد غير موجود",
    "Invalid contract ID": "رقم العقد غير صالح",
    "Milestone not found": "المرحلة غير موجودة",
    "This contract is not yours.": "هذا العقد ليس لك.",
    "This contract is already canceled.": "سبق إلغاء هذا العقد.",
    "This contract is already approved.": "سبقت الموافقة على هذا العقد.",
    "This contract has ended.": "انتهى هذا العقد.",
    "This contract is in dispute.": "يوجد نزاع على هذا العقد.",
    "This contract is already in dispute.": "يوجد نزاع على هذا العقد من قبل.",
    "This contract is not in dispute.": "لا يوجد نزاع على هذا العقد.",
    "This contract is paid for: refund it instead.": "دُفع مبلغ هذا العقد: أعد المبلغ بدلًا من ذلك.",
    "This contract is already delivered.": "سبق تسليم هذا العقد.",
    "This contract is already received.": "سبق استلام هذا العقد.",
    "The buyer's bank wants this money back: it stays where it is until that is decided.": (
        "يطالب بنك المشتري باسترداد هذا المبلغ: يبقى في مكانه حتى يُبت في ذلك."
    ),
    "This contract cannot be paid now.": "لا يمكن دفع مبلغ هذا العقد الآن.",
    "The contract has to be paid for first.": "يجب دفع مبلغ العقد أولًا.",
    "The seller has to approve this contract first.": "يجب أن يوافق البائع على هذا العقد أولًا.",
    "The seller's identity is not verified yet.": "لم يتم التحقق من هوية البائع بعد.",
    "The money of this contract has already gone where it belongs.": (
        "سبق أن ذهبت أموال هذا العقد إلى مستحقيها."
    ),
    "Funds have already been released for this contract.": "سبق تحرير أموال هذا العقد.",
    "Funds have already been refunded for this contract.": "سبقت إعادة أموال هذا العقد.",
    "A refund is pending for this contract.": "توجد عملية استرداد قيد التنفيذ لهذا العقد.",
    "Completed work that is paid for cannot be canceled.": ("لا يمكن إلغاء عمل مكتمل دُفع مبلغه."),
    "A contract needs two different people.": "يحتاج العقد إلى شخصين مختلفين.",
    "The amount is too small for the fees of this business.": (
        "المبلغ أصغر من أن يغطي رسوم هذه المنشأة."
    ),
    "must be Product or Service": "يجب أن يكون Product أو Service",
    "must be buyer or seller": "يجب أن يكون buyer أو seller",
    "must be FULL or PARTIAL": "يجب أن يكون FULL أو PARTIAL",
    "must be CNT-YYMM- and 8 digits": "يجب أن يكون CNT-YYMM- ثم 8 أرقام",
    "must be USR_ and letters, digits or _": "يجب أن يكون USR_ ثم حروفًا أو أرقامًا أو _",
    "must be a whole number": "يجب أن يكون عددًا صحيحًا",
    "must have amounts that sum to the contract's amount": (
        "يجب أن يساوي مجموع مبالغها مبلغ العقد"
    ),
    "must be less than the contract's amount": "يجب أن يكون أقل من مبلغ العقد",
    "must be less than the base amount that it is part of": (
        "يجب أن يكون أقل من المبلغ الأساسي الذي هو جزء منه"
    ),
    "is required for a partial refund": "مطلوب للاسترداد الجزئي",
    "must not be given for a full refund": "يجب ألا يُرسل مع الاسترداد الكامل",
    "is required: say of which milestone": "مطلوب: حدد المرحلة المقصودة",
    "is required without a platformRefId": "مطلوب عند عدم إرسال platformRefId",
    "is not known": "غير معروف",
    "is not the number of this contract's buyer": "ليس رقم مشتري هذا العقد",
    "is there twice, but for upper and lower case": (
        "مكرر، ولا يختلف إلا في حالة الأحرف الكبيرة والصغيرة"
    ),
    # -- users
    "User not found": "المستخدم غير موجود",
    "must contain a letter": "يجب أن يحتوي على حرف",
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
    # -- payouts
    "Payout not found": "الدفعة غير موجودة",
    "This user sells nothing and has nothing to be paid out.": (
        "هذا المستخدم لا يبيع شيئًا وليس له مبلغ يُدفع."
    ),
    "The wallet does not hold that much.": "لا يوجد هذا المبلغ في المحفظة.",
    "Before money can be paid out, its owner has to say where to: finish the onboarding.": (
        "قبل دفع المبلغ يجب أن يحدد صاحبه الحساب الذي يُدفع إليه: أكمل التسجيل."
    ),
    "The payment provider does not pay out there.": "لا يدفع مزود خدمة الدفع في هذا البلد.",
    "The payment provider does not know this payout account any more. Ask the operator.": (
        "لم يعد مزود خدمة الدفع يعرف هذا الحساب. راجع مشغّل الخدمة."
    ),
    "The payment provider cannot be reached right now. Nothing was charged; try again.": (
        "تعذر الوصول إلى مزود خدمة الدفع الآن. لم يُخصم شيء، أعد المحاولة."
    ),
    "must be one that the payment provider pays out in": (
        "يجب أن يكون بلدًا يدفع فيه مزود خدمة الدفع"
    ),
    "must be ISO 3166-1 alpha-2, such as SA": "يجب أن يكون رمز بلد من حرفين، مثل SA",
    "is required: this currency has several": "مطلوب: لهذه العملة أكثر من بلد",
    "must be 24 hexadecimal digits": "يجب أن يتكون من 24 خانة ست عشرية",
    # -- webhooks
    "Webhook not found": "لا يوجد رابط إشعارات",
    "Delivery not found": "الإشعار غير موجود",
    "The webhook is disabled. Send its URL again to enable it.": (
        "رابط الإشعارات معطّل. أرسل عنوانه مرة أخرى لتفعيله."
    ),
    "Invalid webhook URL": "رابط الإشعارات غير صالح",
    "is required without another filter": "مطلوب ما لم يُذكر شرط آخر",
    "must be a UUID": "يجب أن يكون معرّف UUID",
    # -- addresses
    "must be a valid HTTP or HTTPS URL": "يجب أن يكون رابط HTTP أو HTTPS صالحًا",
    "must be a valid http or https URL": "يجب أن يكون رابط http أو https صالحًا",
    "must be an https URL": "يجب أن يكون رابط https",
    "must be an https URL, or http on loopback": (
        "يجب أن يكون رابط https، أو http على الجهاز نفسه"
    ),
    "must be on one of the hosts that this business allows": (
        "يجب أن يكون على أحد الخوادم التي تسمح بها هذه المنشأة"
    ),
    "must name a public host": "يجب أن يشير إلى خادم عام",
    "must name a valid host": "يجب أن يحتوي على اسم خادم صالح",
    "must name a valid host, without a dot at its end": (
        "يجب أن يحتوي على اسم خادم صالح لا ينتهي بنقطة"
    ),
    "must write an IPv4 address as four numbers, such as 93.184.216.34": (
        "يجب كتابة عنوان IPv4 على شكل أربعة أعداد، مثل 93.184.216.34"
    ),
    "must not be a private, loopback or reserved address": (
        "يجب ألا يكون عنوانًا خاصًا أو محليًا أو محجوزًا"
    ),
    "must not carry credentials": "يجب ألا يحتوي على اسم مستخدم أو كلمة مرور",
    "must not contain a user name or password": "يجب ألا يحتوي على اسم مستخدم أو كلمة مرور",
    "must not contain spaces, backslashes, control or invisible characters": (
        "يجب ألا يحتوي على مسافات أو شرطات مائلة عكسية أو رموز تحكم أو رموز غير مرئية"
    ),
    "must not have a fragment": "يجب ألا يحتوي على جزء بعد علامة #",
    # -- any field
    "is required": "مطلوب",
    "is not valid": "غير صالح",
    "is not one of the allowed values": "ليس من القيم المسموح بها",
    "is out of range": "خارج النطاق المسموح به",
    "must not be empty": "يجب ألا يكون فارغًا",
    "must be one line of text": "يجب أن يكون نصًا من سطر واحد",
    "must be greater than 0": "يجب أن يكون أكبر من 0",
    "must not contain control characters": "يجب ألا يحتوي على رموز تحكم",
    "must not contain control or invisible characters": (
        "يجب ألا يحتوي على رموز تحكم أو رموز غير مرئية"
    ),
    "must be 1 to 255 printable ASCII characters": (
        "يجب أن يتكون من 1 إلى 255 رمزًا مطبوعًا من رموز ASCII"
    ),
    "must be an ISO 8601 instant in UTC such as 2026-06-01T00:00:00.000Z": (
        "يجب أن يكون وقتًا بتوقيت UTC وبصيغة ISO 8601 مثل 2026-06-01T00:00:00.000Z"
    ),
}

PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"must be one of (.+)"), "يجب أن يكون من القيم التالية: {}"),
    (
        re.compile(r"must be a whole number from ([0-9]+) to ([0-9]+)"),
        "يجب أن يكون عددًا صحيحًا من {} إلى {}",
    ),
    (re.compile(r"must be at most ([0-9]+) characters long"), "يجب ألا يزيد على {} حرفًا"),
    (
        re.compile(r"must be at most ([0-9]+) characters when encoded"),
        "يجب ألا يزيد على {} حرفًا بعد الترميز",
    ),
    (re.compile(r"must be at least ([0-9]+) characters long"), "يجب ألا يقل عن {} حرفًا"),
    (re.compile(r"must have at most ([0-9]+) entries"), "يجب ألا يزيد على {} عنصرًا"),
    (re.compile(r"must have at least ([0-9]+) entries"), "يجب ألا يقل عن {} عنصرًا"),
    (
        re.compile(r"must have at most 0 decimals in ([A-Z]{3})"),
        "يجب أن يكون بلا منازل عشرية لأن العملة {}",
    ),
    (
        re.compile(r"must have at most ([0-9]) decimals in ([A-Z]{3})"),
        "يجب ألا تزيد منازله العشرية على {} لأن العملة {}",
    ),
    (
        re.compile(
            r"makes a total of ([0-9.]+) ([A-Z0-9]+) with all fees,"
            r" which the payment provider cannot charge"
        ),
        "يجعل الإجمالي {} {} مع جميع الرسوم، ولا يستطيع مزود الدفع تحصيله",
    ),
    (re.compile(r"must be at most (-?[0-9.]+)"), "يجب ألا يزيد على {}"),
    (re.compile(r"must be at least (-?[0-9.]+)"), "يجب ألا يقل عن {}"),
    (
        re.compile(r"must be in the future, within ([0-9]+) years"),
        "يجب أن يكون في المستقبل، خلال {} سنوات",
    ),
    (
        re.compile(r"must not pile up more than ([0-9]+) marks"),
        "يجب ألا تتراكم فيه أكثر من {} علامة تشكيل",
    ),
    (
        re.compile(r"A text has more than ([0-9]+) combining marks in a row\."),
        "يحتوي أحد النصوص على أكثر من {} علامة تشكيل متتالية.",
    ),
    (
        re.compile(r"must be ([A-Z]{2}) and ([0-9]+) (?:digits|letters and digits)"),
        "يجب أن يتكون من {} ثم {} خانة",
    ),
    (re.compile(r"must use port (.+)"), "يجب أن يستخدم أحد المنافذ التالية: {}"),
    (re.compile(r"means more than (.+) events: ask for less"), "يشمل أكثر من {} حدث: اطلب أقل"),
    (
        re.compile(r"The body is not valid JSON \(line ([0-9]+), column ([0-9]+)\)\."),
        "محتوى الطلب ليس JSON صالحًا (السطر {}، العمود {}).",
    ),
    (re.compile(r"(\S+) is not a JSON number\."), "القيمة {} ليست عدد JSON."),
    (re.compile(r"The body must be (.+)\."), "يجب أن يكون محتوى الطلب {}."),
    (re.compile(r"must be (.+), not (.+)"), "يجب أن يكون {} وليس {}"),
)

NOUNS = {
    "true or false": "قيمة منطقية",
    "a whole number": "عددًا صحيحًا",
    "a number": "عددًا",
    "a string": "نصًا",
    "a list": "قائمة",
    "an object": "كائنًا",
    "null": "قيمة فارغة",
    " or ": " أو ",
    ", ": "، ",
}
"""The longer before the shorter."""
