"""Rules about what is covered bit by bit: pages read, miles run or driven, minutes practised.

Place in the flow: data for `planner` (see `rules` for the notation). The words are ours.

Example::

    len(FLOW)
"""

from __future__ import annotations

from sei.teacher.symbolic.story.rules import Rule

_ALL = ("How many {T} does {S} {gain} in all?", "How many {T} does {S} {gain} altogether?")

FLOW: tuple[Rule, ...] = (
    Rule("made", "*", "#rate", "#days", ("{S} {gains} {a} {T} a day for {b} days.", "Every day for {b} days, {S} {gains} {a} {T}."), _ALL, ("In {b} days, {S} {gains} {} {T}.",), on="flow", once="base"),
    Rule("week", "*", "#rate", "#days", ("{S} {gains} {a} {T} on each of {b} days a week.", "On {b} days of every week, {S} {gains} {a} {T}."), ("How many {T} does {S} {gain} in a week?",), ("In a week, {S} {gains} {} {T}.",), on="flow", once="base"),
    Rule("week", "+", "#rate", "#rate", ("Every week, {S} {gains} {a} {T} on {day1} and {b} {T} on {day2}.",), ("How many {T} does {S} {gain} in a week?",), ("In a week, {S} {gains} {} {T}.",), on="flow", once="base"),
    Rule("week", "+", "week", "#rate", ("On Sundays, {S} {gains} another {b} {T}.",), ("How many {T} does {S} {gain} in a week?",), ("In a whole week, {S} {gains} {} {T}.",), on="flow", once="again"),
    Rule("made", "*", "week", "#weeks", ("{S} keeps this up for {b} weeks.", "{S} does so for {b} weeks."), _ALL, ("In {b} weeks, {S} {gains} {} {T}.",), on="flow"),
    Rule("weeks", "/", "#total", "week", ("{S} wants to {gain} {a} {T} in all.",), ("How many weeks does {S} need for that?", "How many weeks will that take?"), ("{S} needs {} weeks.",), on="flow", once="end"),
    Rule("made", "+", "#some", "#some", ("{S} {gains} {a} {T} on {day1} and {b} {T} on {day2}.", "On {day1}, {S} {gains} {a} {T}. On {day2}, {S} {gains} {b} {T}."), _ALL, ("On both days together, {S} {gains} {} {T}.",), on="flow", once="base"),
    Rule("made", "+", "made", "#some", ("After that, {S} {gains} {b} more {T} at the weekend.", "On Sunday, {S} {gains} another {b} {T}."), _ALL, ("In all, {S} {gains} {} {T}.",), on="flow", once="again"),
    Rule("togo", "-", "#whole", "made", ("@whole",), ("@togo",), ("{} {T} are left.",), on="whole", once="need compare"),
    Rule("togo", "-", "togo", "#few", ("{S} decides to skip {b} of these {T}.",), ("How many {T} are left then?",), ("That leaves {} {T}.",), on="skip"),
    Rule("days", "/", "togo", "#rate", ("From now on, {S} {gains} {b} {T} a day.", "{S} plans to {gain} {b} {T} each day from now on."), ("How many days does {S} need for the rest?", "In how many days will {S} be done?"), ("{S} needs {} days.",), on="whole", once="end"),
    Rule("perdays", "/", "togo", "#days", ("{S} wants to finish in {b} days and {gain} the same number of {T} each day.", "{S} has {b} days for the rest and wants to do the same number of {T} each day."), ("How many {T} must {S} {gain} a day?",), ("Each day, {S} must {gain} {} {T}.",), on="whole", once="end"),
    Rule("average", "/", "made", "#days", ("All of this takes {S} {b} days.",), ("How many {T} does {S} {gain} a day on average?", "What is the average number of {T} a day?"), ("On average, that is {} {T} a day.",), on="flow", once="end base again"),
    Rule("done", "%", "#whole", "#percent", ("@wholes {S} has done {b} percent of that.",), ("How many {T} has {S} done?",), ("{S} has done {} {T}.",), on="whole", once="base"),
    Rule("togo", "-%", "#whole", "#percent", ("@wholes {S} has done {b} percent of that.",), ("How many {T} are left?",), ("{S} has done {} {T}.", "{} {T} are left."), on="whole", once="base"),
    Rule("togo", "x-/", "#whole", "#parts", ("@wholes {S} has done {portion} of that.",), ("How many {T} are left?",), ("{S} has done {} {T}.", "{} {T} are left."), on="whole", once="base"),
    Rule("done", "/", "#whole", "#parts", ("@wholes {S} has done {portion} of that.",), ("How many {T} has {S} done?",), ("{S} has done {} {T}.",), on="whole", once="base"),
    Rule("togo", "-", "togo", "#some", ("Today, {S} {gains} {b} more {T}.", "{S} then {gains} another {b} {T}."), ("How many {T} are left after that?",), ("After that, {} {T} are left.",), on="whole", once="again"),
    Rule("made", "*", "#speed", "#hours", ("{S} drives at {a} miles an hour for {b} hours.", "For {b} hours, {S} drives at a speed of {a} miles an hour."), ("How many miles does {S} drive?",), ("{S} drives {} miles.",), on="drive", once="base"),
    Rule("weekly", "*", "made", "#two", ("{S} makes this trip {b} times a week.",), ("How many miles does {S} drive in a week?",), ("In a week, {S} drives {} miles.",), on="drive", once="again compare"),
    Rule("gallons", "/", "made|weekly", "#mpg", ("The car goes {b} miles on a gallon of gas.", "With one gallon of gas, a car goes {b} miles."), ("How many gallons of gas does that take?", "How many gallons of gas are needed for that?"), ("That takes {} gallons.",), on="drive", once="end"),
    Rule("cost", "*", "gallons", "#price", ("A gallon of gas costs ${b}.", "Gas is ${b} a gallon."), ("How much does the gas cost?", "How many dollars does the gas cost?"), ("The gas costs {} dollars.",), on="drive"),
    Rule("hours", "/", "togo", "#speed", ("For the rest of the way, {S} drives at {b} miles an hour.",), ("How many hours does the rest of the way take?",), ("That takes {} hours.",), on="drive", once="end"),
    Rule("hours", "/", "made", "#speed", ("A bus goes the same distance as {S} at {b} miles an hour.",), ("How many hours does the bus need?",), ("The bus needs {} hours.",), on="drive", once="end"),
    Rule("charity", "*", "made", "#price", ("For every {t}, {sponsor} gives ${b} to charity.",), ("How many dollars go to charity?", "How much money does charity get?"), ("Charity gets {} dollars.",), on="sponsor", once="end compare"),
    Rule("minutes", "*", "made", "#minutes", ("For each {t}, {S} needs {b} minutes.", "One {t} takes {S} {b} minutes."), ("How many minutes does {S} need?", "How many minutes does this take?"), ("{S} needs {} minutes.",), on="minutes", once="end"),
    Rule("hours", "/", "minutes", "=60", ("",), ("How many hours does {S} need?", "How many hours does this take?"), ("That is {} hours.",), on="minutes"),
    Rule("minutes", "*", "#weeks", "=60", ("{S} has {a} hours for {task}.", "{S} wants to spend {a} hours on {task}."), ("How many minutes does {S} have?",), ("That is {} minutes.",), on="minutes", once="base"),
    Rule("made", "/", "minutes", "#minutes", ("For each {t}, {S} needs {b} minutes.", "One {t} takes {S} {b} minutes."), ("How many {T} can {S} {gain} in this time?",), ("{S} can {gain} {} {T}.",), on="minutes", once="end"),
    Rule("made", "*", "#rate", "=7", ("{S} {gains} {a} {T} every day for a week.", "Every day of the week, {S} {gains} {a} {T}."), ("How many {T} does {S} {gain} in this week?", "How many {T} does {S} {gain} in all?"), ("In a week, {S} {gains} {} {T}.",), on="flow", once="base"),
    Rule("week", "*", "#rate", "=7", ("{S} {gains} {a} {T} every day.", "Every day, {S} {gains} {a} {T}."), ("How many {T} does {S} {gain} in a week?",), ("In a week, {S} {gains} {} {T}.",), on="flow", once="base"),
    Rule("made", "*", "#lots", "=12", ("{S} {gains} {a} dozen {T}.",), _ALL, ("{S} {gains} {} {T}.",), on="dozen", once="base"),
    Rule("dozens", "/", "made|left|stock|pool", "=12", ("The {T} are sold by the dozen.",), ("How many dozen {T} are there to sell?",), ("That makes {} dozen.",), on="dozen", once="end"),
)  # fmt: skip
