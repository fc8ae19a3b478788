"""Rules about things that are counted: made or bought, given away, shared, packed, compared.

Place in the flow: data for `planner` (see `rules` for the notation). The words are ours.

Example::

    len(THINGS)
"""

from __future__ import annotations

from sei.teacher.symbolic.story.rules import Rule

_MADE = (
    "How many {T} does {S} {gain} in all?",
    "How many {T} does {S} {gain} altogether?",
    "What is the total number of {T} that {S} {gains}?",
)
_HAVE = ("How many {T} does {S} have now?", "How many {T} does {S} have in the end?")
_LEFT = ("How many {T} does {S} have left?", "How many {T} does {S} still have?")
_TOGETHER = (
    "How many {T} do {S} and {F} {gain} together?",
    "How many {T} do the two of them {gain} in all?",
    "How many {T} do {S} and {F} {gain} altogether?",
)
_LARGER = ("{F} {gains} {b} times as many {T} as {S}.", "{F} {gains} {b} times as many.")
_MORE = ("{F} {gains} {b} more {T} than {S}.", "{F} {gains} {b} {T} more than {S} does.")
_FEWER = ("{F} {gains} {b} fewer {T} than {S}.", "{S} {gains} {b} more {T} than {F}.")

THINGS: tuple[Rule, ...] = (
    # what there is at first
    Rule("made", "", "#goods", "", ("{S} {gains} {a} {T}.", "{when}, {S} {gains} {a} {T}."), _MADE, ()),
    Rule("lots", "", "#lots", "", ("{S} {gains} {a} {Cs} of {T}.",), (), (), on="lots"),
    Rule(
        "made", "*", "#lots", "#per",
        ("{S} {gains} {a} {Cs} of {T} with {b} {T} in each {C}.", "{S} {gains} {a} {Cs} of {T}. There are {b} {T} in each {C}.",
         "Every {C} holds {b} {T}, and {S} {gains} {a} {Cs} of them.", "@lots"),
        _MADE, ("{S} {gains} {} {T}.", "That makes {} {T}."), on="lots", once="base",
    ),
    Rule("made", "*", "lots", "#per", ("Each {C} holds {b} {T}.", "There are {b} {T} in each {C}.", "Every {C} has {b} {T} in it."),
         _MADE, ("{S} {gains} {} {T}.",), on="lots"),
    Rule("left", "*", "leftlots", "#per", ("Each {C} holds {b} {T}.", "There are {b} {T} in each {C}."), _LEFT, ("In these, {S} has {} {T}.",), on="lots share"),
    Rule("lots", "+", "#lots", "#morelots",
         ("{first}, {S} {gains} {a} {Cs} of {T}, and {second} another {b} {Cs}.", "{S} {gains} {a} {Cs} of {T} {first_} and {b} {Cs} {second}."),
         (), ("{S} {gains} {} {Cs}.",), on="lots"),
    Rule("lots", "*", "#days", "#morelots", ("{S} {gains} {b} {Cs} of {T} a day for {a} days.", "For {a} days, {S} {gains} {b} {Cs} of {T} every day."),
         (), ("{S} {gains} {} {Cs} in all.",), on="lots rate"),
    Rule("leftlots", "-", "#lots", "#few", ("{S} {gains} {a} {Cs} of {T}. {S} gives {b} of these {Cs} to {F}.", "{S} {gains} {a} {Cs} of {T}, and {F} gets {b} of the {Cs}."),
         (), ("{S} has {} {Cs} left.",), on="lots share"),
    Rule("made", "*", "#rate", "#hours",
         ("{S} {gains} {a} {T} an hour and keeps at it for {b} hours.", "{S} {gains} {a} {T} every hour for {b} hours.", "In one hour, {S} {gains} {a} {T}. {S} works for {b} hours."),
         _MADE, ("In {b} hours, {S} {gains} {} {T}.",), on="rate", once="base"),
    Rule("perday", "*", "#rate", "#hours",
         ("{S} {gains} {a} {T} an hour and works {b} hours a day.", "In one hour, {S} {gains} {a} {T}. {S} works {b} hours every day.", "{S} works {b} hours a day and {gains} {a} {T} in each hour."),
         ("How many {T} does {S} {gain} in a day?",), ("In a day, {S} {gains} {} {T}.",), on="rate", once="base"),
    Rule("perday", "*", "#fewlots", "#per", ("{S} {gains} {a} {Cs} of {T} every day, with {b} {T} in each {C}.", "Every day, {S} {gains} {a} {Cs} of {T}. Each {C} holds {b} {T}."),
         ("How many {T} does {S} {gain} in a day?",), ("In a day, {S} {gains} {} {T}.",), on="lots rate", once="base"),
    Rule("perday", "+", "#some", "#some", ("Every day, {S} {gains} {a} {T} in the morning and {b} {T} in the afternoon.", "{S} {gains} {a} {T} every morning and {b} {T} every afternoon."),
         ("How many {T} does {S} {gain} in a day?",), ("In a day, {S} {gains} {} {T}.",), on="rate", once="base"),
    Rule("keptperday", "-", "#some", "#few", ("Every day, {S} {gains} {a} {T} and gives {b} of them to {F}.", "{S} {gains} {a} {T} a day. Each day {F} gets {b} of them."),
         ("How many {T} does {S} keep each day?",), ("Each day, {S} keeps {} {T}.",), on="rate share", once="base"),
    Rule("made", "*", "perday", "#days", ("{S} does this for {b} days.", "This goes on for {b} days.", "{S} works {b} days."),
         ("How many {T} is that in all?", "How many {T} does that come to?"), ("In {b} days, that is {} {T}.",), on="rate"),
    Rule("left", "*", "keptperday", "#days", ("This goes on for {b} days.", "{S} does this for {b} days."), ("How many {T} does {S} have after this time?", "How many {T} does {S} have in the end?"), ("In {b} days, {S} keeps {} {T}.",), on="rate"),
    Rule("made", "+", "#goods", "#some",
         ("{first}, {S} {gains} {a} {T}. {second_}, {S} {gains} {b} more.", "{S} {gains} {a} {T} {first_} and {b} {T} {second}."),
         _MADE, ("{S} {gains} {} {T}.", "In all, {S} {gains} {} {T}."), on="twice", once="base"),
    Rule("made", "+", "#some", "#some",
         ("{S} {gains} {a} {q1} {T} and {b} {q2} {T}.", "{S} {gains} {a} {T} that are {q1} and {b} that are {q2}."),
         _MADE, ("{S} {gains} {} {T}.", "Together, these are {} {T}."), on="q1", once="base sort"),
    Rule("made", "+", "made", "#some", ("{third}, {S} {gains} another {b} {T}.", "Then {S} {gains} {b} more {T}."),
         _MADE, ("Now {S} has {} {T}.",), on="twice", once="again"),
    Rule("stock", "+", "made|left|stock", "#some", ("{F} gives {S} {b} more {T}.", "Later, {S} gets {b} {T} from {F}.", "Then {S} finds {b} more {T} at home."),
         _HAVE, ("Now {S} has {} {T}.",), on="share", once="gift give"),
    Rule("stock", "+", "#some", "made", ("{S} already had {a} {T} before that.", "Before this, {S} had {a} {T}."),
         _HAVE, ("Now {S} has {} {T}.",), on="share", once="before"),
    # two people
    Rule("made", "*", "made", "#times", _LARGER[:1], ("How many {T} does {F} {gain}?",), ("{F} {gains} {} {T}.",), turns=True, once="compare"),
    Rule("made", "/", "made", "#times", ("{S} {gains} {b} times as many {T} as {F}.",), ("How many {T} does {F} {gain}?",), ("{F} {gains} {} {T}.",), turns=True, once="compare"),
    Rule("made", "+", "made", "#more", _MORE, ("How many {T} does {F} {gain}?",), ("{F} {gains} {} {T}.",), turns=True, once="compare"),
    Rule("made", "-", "made", "#loss", _FEWER, ("How many {T} does {F} {gain}?",), ("{F} {gains} {} {T}.",), turns=True, once="compare"),
    Rule("pool", "x+*", "made", "#times", _LARGER, _TOGETHER, ("{F} {gains} {} {T}.", "Together, they {gain} {} {T}."), once="compare"),
    Rule("pool", "x+/", "made", "#times", ("{S} {gains} {b} times as many {T} as {F}.",), _TOGETHER, ("{F} {gains} {} {T}.", "Together, they {gain} {} {T}."), once="compare"),
    Rule("pool", "x++", "made", "#more", _MORE, _TOGETHER, ("{F} {gains} {} {T}.", "Together, they {gain} {} {T}."), once="compare"),
    Rule("pool", "x+-", "made", "#loss", _FEWER, _TOGETHER, ("{F} {gains} {} {T}.", "Together, they {gain} {} {T}."), once="compare"),
    Rule("pool", "+", "made", "F:made", ("",), _TOGETHER, ("Together, they {gain} {} {T}.",), once="compare"),
    Rule("gap", "-", "made", "F:made", ("",), ("How many more {T} does {S} {gain} than {F}?", "How many {T} more than {F} does {S} {gain}?"), ("{S} {gains} {} more {T} than {F}.",), once="compare"),
    Rule("pool", "+", "pool", "#some", ("{G} {gains} {b} {T}.", "{G} {gains} another {b} {T}."), ("How many {T} do the three of them {gain} in all?", "How many {T} do {S}, {F} and {G} {gain} together?"), ("All three together {gain} {} {T}.",), once="third"),
    # less
    Rule("left", "-", "made|left|stock", "#loss", ("{S} gives {b} of {his} {T} to {F}.", "Then {S} gives {F} {b} of {his} {T}.", "{F} asks for some {T} and gets {b} of them from {S}."), _LEFT, ("{S} has {} {T} left.",), on="share", once="give"),
    Rule("left", "-", "made|left|stock", "#few", ("@loses",), ("How many {T} are left?", "How many {T} remain?"), ("That leaves {} {T}.",), on="loses", once="lose compare"),
    Rule("poolleft", "-", "pool", "#few", ("@loses",), ("How many {T} are left?", "How many {T} remain?"), ("That leaves {} {T}.",), on="loses", once="lose"),
    Rule("left", "-", "made|left|stock", "given", ("",), _LEFT, ("{S} has {} {T} left.",), on="share"),
    Rule("given", "*", "#friends", "#each", ("{S} gives {b} {T} to each of {a} {friends}.", "Then {S} gives each of {his} {a} {friends} {b} {T}."), (), ("{S} gives away {} {T}.",), once="give friends"),
    Rule("given", "+", "#few", "#few", ("{S} gives {a} of {his} {T} to {F} and {b} to {G}.", "From {S}, {F} gets {a} of the {T} and {G} gets {b}."), (), ("{S} gives away {} {T}.",), once="give"),
    Rule("left", "x-/", "made|left|stock", "#parts", ("{S} gives {portion} of {his} {T} to {F}.", "Then {S} gives {F} {portion} of {his} {T}."), _LEFT, ("{F} gets {} {T}.", "{S} has {} {T} left."), on="share", once="give"),
    Rule("good", "-%", "made|left|stock", "#percent", ("{b} percent of the {r}{T} are {bad}.", "Of the {r}{T}, {b} percent are {bad}."), ("How many of the {T} are not {bad}?",), ("{} of them are {bad}.", "The other {} {T} are not."), on="bad", once="sort compare"),
    Rule("part", "%", "made|left|stock", "#percent", ("{b} percent of the {r}{T} are {sort}.", "Of the {r}{T}, {b} percent are {sort}."), ("How many of the {T} are {sort}?",), ("{} of the {T} are {sort}.",), on="bad", once="sort compare"),
    Rule("part", "/", "made|left|stock", "#parts", ("{Portion} of the {r}{T} are {sort}.", "{S} sees that {portion} of the {r}{T} are {sort}."), ("How many of the {T} are {sort}?",), ("{} of the {T} are {sort}.",), on="bad", once="sort compare"),
    Rule("good", "x-/", "made|left|stock", "#parts", ("{Portion} of the {r}{T} are {bad}.", "It turns out that {portion} of the {r}{T} are {bad}."), ("How many of the {T} are not {bad}?",), ("{} of them are {bad}.", "The other {} {T} are not."), on="bad", once="sort compare"),
    # shared, packed
    Rule("share", "/", "made|left|stock", "#friends", ("{S} shares {the} {T} equally among {b} {friends}.", "{S} divides {the} {T} equally among {b} {friends}."),
         ("How many {T} does each of the {friends} get?", "How many {T} does each {friend} get?"), ("Each of them gets {} {T}.",), on="share", once="end friends"),
    Rule("share", "/", "pool|poolleft", "#friends", ("They share {the} {T} equally among {b} {friends}.", "{the_} {T} are shared equally by {b} {friends}."),
         ("How many {T} does each {friend} get?",), ("Each of them gets {} {T}.",), on="share", once="end friends"),
    Rule("each", "/", "pool|poolleft", "#lots", ("{the_} {T} are put into {b} {Ks}, the same number in each.", "{the_} {T} are divided equally among {b} {Ks}."),
         ("How many {T} are in each {K}?", "How many {T} does each {K} hold?"), ("Each {K} holds {} {T}.",), on="pack", once="end"),
    Rule("each", "/", "made|left|stock", "#lots", ("{S} puts {the} {T} into {b} {Ks}, the same number in each.", "{S} divides {the} {T} equally among {b} {Ks}."), ("How many {T} are in each {K}?", "How many {T} does each {K} hold?"), ("Each {K} holds {} {T}.",), on="pack", once="end"),
    Rule("mine", "+", "share", "#few", ("{G} is one of these {friends} and already had {b} {T}.", "One of the {friends}, {G}, had {b} {T} before."), ("How many {T} does {G} have now?",), ("Now {G} has {} {T}.",), on="share"),
    Rule("mine", "-", "share", "#few", ("{G}, one of the {friends}, then gives {b} of these {T} to a brother.", "One of the {friends}, {G}, loses {b} of these {T}."), ("How many {T} does {G} have left?",), ("{G} has {} {T} left.",), on="share"),
    Rule("packs", "/", "made|left|stock", "#pack", ("{S} packs {the} {T} into {Ks} of {b}.", "{S} puts {the} {T} into {Ks}, {b} {T} in each {K}."),
         ("How many {Ks} does {S} fill?", "How many {Ks} does {S} need?"), ("{S} fills {} {Ks}.",), on="pack", once="end"),
    Rule("ourpacks", "/", "pool|poolleft", "#pack", ("{the_} {T} are packed into {Ks} of {b}.",), ("How many {Ks} are filled?",), ("They fill {} {Ks}.",), on="pack", once="end"),
    Rule("packsleft", "-", "packs", "#few", ("{S} gives {b} of the {Ks} to {F}.", "{F} gets {b} of the {Ks}."), ("How many {Ks} are left?",), ("That leaves {} {Ks}.",), on="pack"),
    Rule("morepacks", "-", "#morewhole", "packs", ("{S} needs {a} such {Ks} for the {event}.",), ("How many more {Ks} does {S} need?",), ("{S} needs {} more {Ks}.",), on="pack event"),
    Rule("packs", "/", "good", "#pack", ("The other {T} are packed into {Ks} of {b}.", "{S} puts the other {T} into {Ks}, {b} {T} in each {K}."), ("How many {Ks} are filled?",), ("They fill {} {Ks}.",), on="pack", once="end"),
    Rule("share", "/", "good", "#friends", ("{S} shares the other {T} equally among {b} {friends}.",), ("How many {T} does each {friend} get?",), ("Each of them gets {} {T}.",), on="share", once="end friends"),
    # what is missing
    Rule("need", "-", "#whole", "made|left|stock", ("{S} needs {a} {T} in all for the {event}.", "For the {event}, {a} {T} are needed."),
         ("How many more {T} does {S} need?", "How many more {T} does {S} have to {gain}?"), ("{S} needs {} more {T}.",), on="event", once="need compare"),
    Rule("theirneed", "-", "#whole", "pool", ("They need {a} {T} in all for the {event}.", "For the {event}, {a} {T} are needed."),
         ("How many more {T} do they need?",), ("They need {} more {T}.",), on="event", once="need"),
    Rule("days", "/", "need", "#rate", ("From now on, {S} can {gain} {b} {T} a day.", "{S} can {gain} {b} more {T} each day."), ("How many days will it take to {gain} the missing {T}?", "After how many days will there be enough {T}?"), ("That takes {} days.",), on="rate event", once="end"),
    Rule("days", "/", "theirneed", "#rate", ("From now on, they can {gain} {b} {T} a day together.", "Together they {gain} {b} more {T} each day."), ("How many days will it take to {gain} the missing {T}?", "After how many days will there be enough {T}?"), ("That takes {} days.",), on="rate event", once="end"),
    Rule("needpacks", "/", "theirneed", "#pack", ("A shop sells such {T} in {Ks} of {b}.",), ("How many {Ks} do they have to buy?",), ("That takes {} {Ks}.",), on="pack event", once="end"),
    Rule("days", "/", "#total", "perday", ("A customer has ordered {a} {T}.", "For the {event}, {a} {T} are needed."), ("How many days does {S} need to {gain} that many?", "How many days does that take?"), ("{S} needs {} days.",), on="rate event", once="end"),
    Rule("perdays", "/", "need", "#days", ("There are {b} days left until the {event}, and {S} wants to {gain} the same number every day.", "{S} has {b} days to {gain} them, the same number each day."), ("How many {T} must {S} {gain} each day?",), ("Each day, {S} must {gain} {} {T}.",), on="rate event", once="end"),
    Rule("needpacks", "/", "need", "#pack", ("A shop sells such {T} in {Ks} of {b}.", "The missing {T} come in {Ks} of {b}."), ("How many {Ks} are needed?", "How many {Ks} have to be bought?"), ("That takes {} {Ks}.",), on="pack event", once="end"),
    Rule("average", "/", "made", "#days", ("{S} does all of this in {b} days.", "All of this takes {b} days."), ("How many {T} does {S} {gain} per day on average?", "On average, how many {T} is that per day?"), ("On average, that is {} {T} a day.",), on="rate", once="end compare base again"),
)  # fmt: skip
