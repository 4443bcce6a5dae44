"""How the web admin writes dates and times: so that they sort, and are the same in every log."""

DATE_FORMAT = "Y-m-d"
DATETIME_FORMAT = "Y-m-d H:i"
TIME_FORMAT = "H:i"
