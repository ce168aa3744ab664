"""Django as for production: no debugging, connections that stay."""

import os

SECRET_KEY = "nothing is signed with it"
DEBUG = False
USE_TZ = True
INSTALLED_APPS = ["django.contrib.contenttypes", "mptt", "hordak"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": os.environ["PGDATABASE"],  # libpq knows the rest from the environment
        "CONN_MAX_AGE": None,
    }
}
DEFAULT_CURRENCY = HORDAK_INTERNAL_CURRENCY = "INR"
CURRENCIES = HORDAK_CURRENCIES = ["INR"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
