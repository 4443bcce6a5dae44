"""All settings, from the environment. `docs/operations.md` lists the names; `make run` sets what a development installation needs."""

import os
from pathlib import Path
from typing import Any

import environ

from chatproject import databases, vapid
from chatproject.security import require_production_settings
from chatproject.web_admin import look

env = environ.Env()
# Empty means unset, for numbers and switches, too: whoever passes variables on passes them on empty.
env.ENVIRON = {name: value for name, value in os.environ.items() if value}

BASE_DIR = Path(__file__).resolve().parent.parent
ENVIRONMENT: str = env.str("ENVIRONMENT", default="production")
IN_PRODUCTION = ENVIRONMENT not in ("development", "test")

DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env.str("SECRET_KEY", default="")
PHONE_PEPPER = env.str("PHONE_PEPPER", default="")
PIN_PEPPER = env.str("PIN_PEPPER", default="")
PHONE_ENCRYPTION_KEYS: list[str] = env.list("PHONE_ENCRYPTION_KEYS", default=[])
TOKEN_KEYS: list[str] = env.list("TOKEN_KEYS", default=[])
HINT_KEY = env.str("HINT_KEY", default="")
ALLOWED_HOSTS: list[str] = env.list("ALLOWED_HOSTS", default=[] if IN_PRODUCTION else ["*"])
ALLOWED_ORIGINS: list[str] = env.list("ALLOWED_ORIGINS", default=[])
TRUSTED_PROXIES: list[str] = env.list("TRUSTED_PROXIES", default=[])

ROOT_URLCONF = "chatproject.urls"
ASGI_APPLICATION = "chatproject.asgi.application"
APPEND_SLASH = False
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "accounts.User"
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"
FORMAT_MODULE_PATH = "chatproject.formats"

# --- databases: PostgreSQL decides, the message store keeps ------------------------------------------------------------------------
POSTGRES_URL: str = env.str("POSTGRES_URL", default="") or env.str("DATABASE_URL", default="postgresql:///waypost")
SCYLLADB_URL: str = env.str("SCYLLADB_URL", default="")
MESSAGES_URL: str = env.str("MESSAGES_URL", default="") or databases.messages_beside(POSTGRES_URL)
DATABASES: dict[str, dict[str, Any]] = {
    "default": databases.decides(POSTGRES_URL, pooled=env.bool("POOL_CONNECTIONS", default=False)),
    "messages": databases.keeps(SCYLLADB_URL or MESSAGES_URL),
}
DATABASE_ROUTERS = ["chatproject.routers.DatabaseRouter"]
MESSAGES_ENGINE = databases.engine_name(SCYLLADB_URL or MESSAGES_URL)

# --- Redis hints -------------------------------------------------------------------------------------------------------------------
REDIS_URL: str = env.str("REDIS_URL", default="redis://127.0.0.1:6379/0")
CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": REDIS_URL,
        "OPTIONS": {
            # Not pickle: whoever can write into Valkey could run code here.
            "SERIALIZER": "django_redis.serializers.msgpack.MSGPackSerializer",
            "CONNECTION_FACTORY": "accounts.valkey.SharedConnections",
        },
    }
}
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "messaging.layer.HintLayer",
        "CONFIG": {
            "hosts": [
                {
                    "address": REDIS_URL,
                    "socket_timeout": None,
                    "socket_connect_timeout": 2,
                    "health_check_interval": 15,
                    "max_connections": 2000,
                }
            ],
            "prefix": "waypost",
        },
    }
}

# --- applications ------------------------------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    # `messaging` stands before the Cassandra engine: its migrate, showmigrations, flush and sync_cassandra commands win.
    "messaging",
    *databases.engine_apps(SCYLLADB_URL or MESSAGES_URL),
    # Its templates and files stand before unfold's, and unfold's before Django's.
    "chatproject",
    "unfold.apps.BasicAppConfig",
    "chatproject.web_admin.apps.WaypostAdminConfig",
    "django_otp",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    # Serves the assets of the API documentation from here instead of a CDN.
    "ninja",
    "channels",
    "accounts",
    "devices",
    "conversations",
]
MIDDLEWARE = [
    "chatproject.middleware.liveness",
    "django.middleware.security.SecurityMiddleware",
    "servestatic.middleware.ServeStaticMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
    "chatproject.middleware.answers",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
# Whether staff needs an authenticator. Whoever has set one up is asked for it in any case.
ADMIN_SECOND_FACTOR = env.bool("ADMIN_SECOND_FACTOR", default=IN_PRODUCTION)
UNFOLD = look.UNFOLD
AUTHENTICATION_BACKENDS = ["accounts.backends.PhoneBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
STATIC_URL = "static/"
STATIC_ROOT = env.str("STATIC_ROOT", default=str(BASE_DIR / ".state" / "static"))
SERVESTATIC_USE_FINDERS = not IN_PRODUCTION
SERVESTATIC_AUTOREFRESH = False

# --- HTTP security -----------------------------------------------------------------------------------------------------------------
CORS_ALLOWED_ORIGINS = ALLOWED_ORIGINS
CORS_URLS_REGEX = r"^/api/.*$"
CSRF_TRUSTED_ORIGINS = [origin for origin in ALLOWED_ORIGINS if origin.startswith("http")]
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "frame-ancestors": ["'none'"],
        "form-action": ["'self'"],
    }
}
SECURE_CONTENT_TYPE_NOSNIFF = True
# Not "no-referrer": with it browsers send `Origin: null` with a form, and the CSRF check refuses every login to the admin.
SECURE_REFERRER_POLICY = "same-origin"
# Not in a cookie: they say what staff did.
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
CSRF_FAILURE_VIEW = "chatproject.errors.forged"
X_FRAME_OPTIONS = "DENY"
SESSION_ENGINE = "accounts.sessions"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_AGE = 8 * 3600
# The prefix makes browsers keep other hosts of the domain from setting these.
SESSION_COOKIE_NAME = "__Host-sessionid" if IN_PRODUCTION else "sessionid"
CSRF_COOKIE_NAME = "__Host-csrftoken" if IN_PRODUCTION else "csrftoken"
SESSION_COOKIE_SAMESITE = "Strict"
CSRF_COOKIE_SAMESITE = "Strict"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = IN_PRODUCTION
SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", default=IN_PRODUCTION)
SECURE_REDIRECT_EXEMPT = [r"^health", r"^metrics$"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUSTED_PROXIES else None
SECURE_HSTS_SECONDS = 31_536_000 if IN_PRODUCTION else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = IN_PRODUCTION
DATA_UPLOAD_MAX_MEMORY_SIZE = 3 * 1024 * 1024

# --- the product -------------------------------------------------------------------------------------------------------------------
SMS_URL: str = env.str("SMS_URL", default="console://")
# Countries whose numbers are sent codes, each with a daily budget of its own if it has one: "TH,US:500"; "*" is all the others.
SMS_COUNTRIES: list[str] = env.list("SMS_COUNTRIES", default=["*"])
# Where `manage.py checkup` finds the server, unless it is told.
CHECKUP_URL: str = env.str("CHECKUP_URL", default="http://127.0.0.1:8000")
CODES_ENABLED = env.bool("CODES_ENABLED", default=True)
ACCESS_TOKEN_SECONDS: int = env.int("ACCESS_TOKEN_SECONDS", default=600)
# From one refresh to the next, and from signing in to signing in again.
REFRESH_TOKEN_DAYS: int = env.int("REFRESH_TOKEN_DAYS", default=30)
TOKEN_LINE_DAYS: int = env.int("TOKEN_LINE_DAYS", default=180)
# Each costs some 30 ms of a core and 19 MiB of memory.
PIN_HASHES_AT_ONCE: int = env.int("PIN_HASHES_AT_ONCE", default=4)
# Web push: the server's own key (`manage.py vapid_key` makes one), and where a push service finds its operator.
VAPID_PRIVATE_KEY: str = env.str("VAPID_PRIVATE_KEY", default="")
VAPID_SUBJECT: str = env.str("VAPID_SUBJECT", default=f"mailto:postmaster@{vapid.host_of(ALLOWED_HOSTS)}")
WEBPUSH_PUBLIC_KEY: str = vapid.public_key(VAPID_PRIVATE_KEY) if VAPID_PRIVATE_KEY else ""
PUSH_ALLOWED_HOSTS: list[str] = env.list("PUSH_ALLOWED_HOSTS", default=[])
PUSH_PRIVATE_HOSTS: list[str] = env.list("PUSH_PRIVATE_HOSTS", default=[])
PUSH_PORTS: list[int] = env.list("PUSH_PORTS", cast=int, default=[443])
PUSH_CA_FILE: str = env.str("PUSH_CA_FILE", default="")
FCM_CREDENTIALS: str = env.str("FCM_CREDENTIALS", default="")
APNS_KEY_FILE: str = env.str("APNS_KEY_FILE", default="")
APNS_KEY_ID: str = env.str("APNS_KEY_ID", default="")
APNS_TEAM_ID: str = env.str("APNS_TEAM_ID", default="")
APNS_TOPIC: str = env.str("APNS_TOPIC", default="")
APNS_SANDBOX = env.bool("APNS_SANDBOX", default=False)
# Providers without a configuration of their own: whom they would have woken is said in the log.
PUSH_CONSOLE = env.bool("PUSH_CONSOLE", default=not IN_PRODUCTION)
OUTBOX_MAX_ROWS: int = env.int("OUTBOX_MAX_ROWS", default=1_000_000)
# How often old rows are removed by the web processes; 0: never, `manage.py prune` is run by somebody else.
PRUNE_EVERY_SECONDS: int = env.int("PRUNE_EVERY_SECONDS", default=3600)
# How long security events are kept; 0: for ever, less than 30 counts as 30.
SECURITY_EVENT_DAYS: int = env.int("SECURITY_EVENT_DAYS", default=365)
OUTBOX_MAX_BYTES: int = env.int("OUTBOX_MAX_BYTES", default=2 * 1024**3)
FINISHER_IN_WEB = env.bool("FINISHER_IN_WEB", default=True)
LIMITS: dict[str, list[int]] = {
    # name in the environment: LIMIT_<KEY>; 0 = off. Lists are steps.
    name: env.list(f"LIMIT_{name}", cast=int, default=default)
    for name, default in {
        "OTP_DELAYS": [60, 120, 300, 600],
        "OTP_PER_NUMBER_DAY": [5],
        "OTP_PER_IP_HOUR": [10],
        "OTP_PER_NETWORK_HOUR": [50],
        "OTP_PER_COUNTRY_DAY": [1000],
        "PIN_TRIES_PER_DAY": [5],
        "PIN_HASHES_PER_MIN": [60],
        "ADMIN_LOGINS_PER_15_MIN": [10],
        "LOOKUPS_PER_15_MIN": [100],
        "RELATIONSHIPS_PER_HOUR": [200],
        "BUNDLES_PER_10_MIN": [6],
        "BUNDLES_PER_TARGET_HOUR": [60],
        "PREKEY_LEAPS_PER_DAY": [10],
        "HANDSHAKES_PER_MIN": [60],
        "FRAMES_BURST": [1000],
        "FRAMES_PER_SECOND": [200],
        "SEND_BURST": [60],
        "SEND_PER_SECOND": [2],
        "CONVERSATION_PER_SECOND": [50],
        "TYPING_BURST": [5],
        "TYPING_EVERY_SECONDS": [3],
        "PRESENCE_BURST": [10],
        "PRESENCE_PER_SECOND": [1],
        "CALL_SIGNALS_BURST": [200],
        "CALL_SIGNALS_PER_SECOND": [20],
        "CONVERSATIONS_PER_HOUR": [10],
        "ADDS_PER_HOUR": [100],
        "CONVERSATIONS_PER_USER": [2000],
        "DEVICES_PER_USER": [6],
        "LINKS_PER_HOUR": [20],
        "MEMBERS": [256],
        "MAILBOX_ROWS": [50_000],
        "MAILBOX_BYTES": [256 * 1024**2],
    }.items()
}

# Where web processes tell each other their numbers, so that any of them can answer for all. Empty: each answers for itself.
METRICS_DIR: str = env.str("METRICS_DIR", default="")

OF_CLIENTS = ("Invalid UTF-8 sequence received from client", "ASGI callable returned without completing handshake")
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "filters": {
        "no_refusals": {
            "()": "django.utils.log.CallbackFilter",
            "callback": lambda record: getattr(record, "status_code", None) != 503,
        },
        "no_strangers": {
            "()": "django.utils.log.CallbackFilter",
            "callback": lambda record: not str(record.msg).startswith(OF_CLIENTS),
        },
    },
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": "plain"},
        "nowhere": {"class": "logging.NullHandler"},
    },
    "root": {"handlers": ["stderr"], "level": env.str("LOG_LEVEL", default="INFO")},
    "loggers": {
        "cassandra": {"level": "WARNING"},
        # The checkup's client would say each call beside the table, and ids with it.
        "httpx": {"level": "WARNING"},
        # The library says to which number a message did not go, and why: that is for `accounts.sms`, which asks it, and for no log.
        "apprise": {"level": "WARNING", "handlers": ["nowhere"], "propagate": False},
        # Says the path of each request, which has the number with some providers.
        "urllib3": {"level": "ERROR"},
        # Django's request log names the paths of refused calls; a refusal is no event in the server's life, while a store is away least of all.
        "django.request": {"level": "ERROR", "filters": ["no_refusals"]},
        # uvicorn takes what a client did wrong for an error of the server, the one of bad text with a traceback.
        "uvicorn.error": {"filters": ["no_strangers"]},
        # They would name endpoints, headers and tokens of pushes when they are asked for details.
        **{library: {"level": "WARNING"} for library in ("httpcore", "hpack", "aiohttp")},
        "aioapns": {"level": "CRITICAL"},
        # Whoever names another host is refused; a traceback for each would let strangers fill the log.
        "django.security.DisallowedHost": {"level": "CRITICAL"},
    },
}

require_production_settings(globals())
