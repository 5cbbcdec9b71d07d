"""When scheduled runs are due: cron times in a time zone, checked before a server is started."""

from __future__ import annotations

from difflib import get_close_matches
from zoneinfo import available_timezones

from components.base.errors import RunError

UTC = "Etc/UTC"
"""The default time zone: it has no clock change, so that each time of a schedule comes exactly once a day, and a
checkout has the same schedule on every host."""


def check_schedule(cron: str, timezone: str) -> None:
    """Raise RunError where `timezone` is no IANA name, or where Prefect cannot read the schedule."""
    known = available_timezones()
    if timezone not in known:
        close = get_close_matches(timezone, known, n=1)
        raise RunError(
            f"--timezone {timezone!r} is no IANA time zone, such as Europe/Berlin or {UTC}"
            + (f"; {close[0]} is similar" if close else "")
        )
    from prefect.client.schemas.schedules import CronSchedule
    from pydantic import ValidationError

    try:
        CronSchedule(cron=cron, timezone=timezone)
    except ValidationError as error:
        raise RunError(f"--cron {cron!r} is not a cron schedule, such as '0 3 * * *' (every night at three)") from error
