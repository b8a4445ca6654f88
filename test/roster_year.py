#!/usr/bin/python3
"""Evenings of a year as they should be: test/roster_year.py [step in minutes] [first day] [last day] …

Prints JSON: when the server is up and looks for what is due (steps), the connections, how often each evening fails
before it succeeds (fails), and the runs that there should be then (runs). It knows time zones by Python's zoneinfo and
looks at each quarter of an hour, so it shares nothing with what it checks.
"""
import datetime
import json
import random
import sys
import zoneinfo

UTC = datetime.timezone.utc
QUARTER = datetime.timedelta(minutes=15)
PAUSE = datetime.timedelta(minutes=30)
LOOKBACK = 14
CONNECTIONS = [
    # name, time zone, sync_at, window_end
    ('denver', 'America/Denver', '19:00', '05:00'),
    ('stjohns', 'America/St_Johns', '01:30', '04:00'),
    ('berlin', 'Europe/Berlin', '21:00', '02:30'),
    ('kolkata', 'Asia/Kolkata', '18:30', '06:00'),
    ('lordhowe', 'Australia/Lord_Howe', '23:45', '02:15'),
    ('auckland', 'Pacific/Auckland', '02:15', '07:00'),
    ('apia', 'Pacific/Apia', '19:30', '05:00'),
]


def minutes(text):
    hours, rest = text.split(':')
    return datetime.timedelta(hours=int(hours), minutes=int(rest))


def local_times(zone, first, last):
    """Pairs of an instant and what clocks show then, for each quarter of an hour."""
    zone = zoneinfo.ZoneInfo(zone)
    instant = datetime.datetime.combine(first, datetime.time(), UTC) - datetime.timedelta(days=3)
    end = datetime.datetime.combine(last, datetime.time(), UTC) + datetime.timedelta(days=4)
    times = []
    while instant < end:
        times.append((instant, instant.astimezone(zone).replace(tzinfo=None)))
        instant += QUARTER
    return times


def first_instant(times, local):
    """When clocks first show that time or a later one."""
    return next(instant for instant, shown in times if shown >= local)


def evenings(connection, first, last):
    """(date, opens, closes) of each evening."""
    _, zone, sync_at, window_end = connection
    times = local_times(zone, first, last)
    days = {shown.date() for _, shown in times}
    for n in range(-1, (last - first).days + 1):
        day = first + datetime.timedelta(days=n)
        if day not in days:
            continue
        midnight = datetime.datetime.combine(day, datetime.time())
        begins = midnight + minutes(sync_at)
        ends = midnight + minutes(window_end)
        if window_end <= sync_at:
            ends += datetime.timedelta(days=1)
        opens, closes = first_instant(times, begins), first_instant(times, ends)
        if closes <= opens:
            closes = opens + (ends - begins)
        yield day, opens, closes


def steps_of(first, last, step, chance):
    """When the server is up: all steps of the period but for some downtimes."""
    begin = datetime.datetime.combine(first, datetime.time(12), UTC)
    end = datetime.datetime.combine(last, datetime.time(12), UTC)
    downtimes = []
    days = (last - first).days
    for hours, often in ((5, days // 8), (30, days // 25), (100, days // 80), (16 * 24, days // 300)):
        for _ in range(often):
            since = begin + (end - begin) * chance.random()
            downtimes.append((since, since + datetime.timedelta(hours=hours)))
    steps = []
    while begin < end:
        if not any(since <= begin < until for since, until in downtimes):
            steps.append(begin)
        begin += step
    return steps


def expected_runs(connection, steps, first, last, fails):
    """(connection, evening, missed, queued at) of each run."""
    enabled = steps[0]
    nights = [night for night in evenings(connection, first, last) if night[2] > enabled and night[1] <= steps[-1]]
    missed = []
    for day, opens, closes in nights:
        tries, again = 0, opens
        for at in steps:
            if at < opens or at >= closes or at < again:
                continue
            tries += 1
            yield connection[0], day, False, at
            again = at + PAUSE
            if tries > fails.get((connection[0], day), 0) or tries == 3 or again >= closes:
                break
        if tries == 0 and opens >= enabled:
            told = next((at for at in steps if at >= closes), None)
            # A connection that has no evening on record for a fortnight starts with the last fourteen.
            if told is not None:
                missed.append((day, told))
    for day, told in missed:
        newest = max(night[0] for night in nights if night[2] <= told)
        if (newest - day).days < LOOKBACK:
            yield connection[0], day, True, told


def main():
    step = datetime.timedelta(minutes=int(sys.argv[1]))
    chance = random.Random(20260101)
    periods = [datetime.date.fromisoformat(argument) for argument in sys.argv[2:]]
    result = {'connections': CONNECTIONS, 'periods': []}
    for first, last in zip(periods[::2], periods[1::2]):
        steps = steps_of(first, last, step, chance)
        fails = {(connection[0], first + datetime.timedelta(days=n)): chance.choice((0, 0, 0, 0, 1, 2, 3))
                 for connection in CONNECTIONS for n in range(-1, (last - first).days + 1)}
        runs = [run for connection in CONNECTIONS for run in expected_runs(connection, steps, first, last, fails)]
        result['periods'].append({
            'steps': [at.isoformat() for at in steps],
            'fails': [[name, day.isoformat(), times] for (name, day), times in fails.items() if times > 0],
            'runs': [[name, day.isoformat(), missed, at.strftime('%Y-%m-%d %H:%M')] for name, day, missed, at in runs]})
    print(json.dumps(result))


if __name__ == '__main__':
    main()
