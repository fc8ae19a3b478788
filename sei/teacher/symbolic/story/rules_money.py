"""Rules about money: what is earned, paid, saved, taken off and shared.

Place in the flow: data for `planner` (see `rules` for the notation). The words are ours.

Example::

    len(MONEY)
"""

from __future__ import annotations

from sei.teacher.symbolic.story.rules import Rule

_EARN = ("How much money does {S} make?", "How many dollars does {S} make in all?", "How much does {S} earn in total?")
_HAS = ("How much money does {S} have now?", "How many dollars does {S} have in the end?")
_LEFT = ("How much money does {S} have left?", "How many dollars does {S} have left?")
_PAY = ("How much does {S} pay in all?", "How many dollars does {S} spend altogether?", "What is the total cost?")

MONEY: tuple[Rule, ...] = (
    # from things to money
    Rule("cash", "*", "made|left|stock", "#price", ("{S} sells {the} {T} for ${b} each.", "{S} sells {the} {T} at ${b} apiece.", "At the market, {S} gets ${b} for each of {the2} {T}."), _EARN, ("{S} gets {} dollars for them.",), on="sell", once="sell"),
    Rule("theirs", "*", "pool|poolleft", "#price", ("They sell {the} {T} for ${b} each.",), ("How much money do they make?", "How many dollars do they get for them?"), ("They get {} dollars.",), on="sell", once="sell"),
    Rule("cash", "*", "packs", "#packprice", ("Each {K} is sold for ${b}.", "{S} sells every {K} for ${b}."), _EARN, ("That brings in {} dollars.",), on="sell pack", once="sell"),
    Rule("cash", "*", "packsleft", "#packprice", ("{S} sells each of the other {Ks} for ${b}.", "The other {Ks} are sold for ${b} each."), _EARN, ("That brings in {} dollars.",), on="sell pack", once="sell"),
    Rule("theirs", "*", "ourpacks", "#packprice", ("They sell every {K} for ${b}.",), ("How much money do they make?", "How many dollars do they get for the {Ks}?"), ("They get {} dollars.",), on="sell pack", once="sell"),
    Rule("cash", "*", "part", "#price", ("{S} sells these {T} for ${b} each.",), _EARN, ("{S} gets {} dollars for them.",), on="sell", once="sell"),
    Rule("cash", "*", "good", "#price", ("{S} sells the other {T} for ${b} each.", "The other {T} are sold for ${b} each."), _EARN, ("{S} gets {} dollars for them.",), on="sell", once="sell"),
    Rule("cost", "*", "need|theirneed", "#price", ("In a shop, such {T} cost ${b} each.", "The missing {T} can be bought for ${b} each."), ("How much do the missing {T} cost?", "How many dollars do the missing {T} cost?"), ("They cost {} dollars.",), on="sell event", once="sell"),
    Rule("cost", "*", "needpacks", "#packprice", ("Each of these {Ks} costs ${b}.", "One such {K} costs ${b}."), ("How many dollars do they cost?", "How much does that cost in all?"), ("They cost {} dollars.",), on="pack event", once="sell"),
    Rule("cost", "*", "packs|ourpacks", "#cheap", ("Each empty {K} costs ${b}.", "The {Ks} cost ${b} each."), ("How much does {S} pay for the {Ks}?",), ("The {Ks} cost {} dollars.",), on="pack share", once="sell"),
    # cash: wages and savings
    Rule("purse", "", "#cash", "", ("{S} has ${a}.", "{S} has saved ${a}."), (), ()),
    Rule("cash", "*", "#wage", "#hours", ("{S} earns ${a} an hour {job} and works for {b} hours.", "{S} is paid ${a} an hour {job}. This week, {S} works {b} hours."), _EARN, ("{S} earns {} dollars.",), on="job", once="earn"),
    Rule("hours", "*", "#hours", "#days", ("{S} works {a} hours a day for {b} days {job}.", "For {b} days, {S} works {a} hours a day {job}."), ("How many hours does {S} work?",), ("{S} works {} hours.",), on="job", once="earn"),
    Rule("hours", "+", "#hours", "#hours", ("{S} works {a} hours on {day1} and {b} hours on {day2} {job}.",), ("How many hours does {S} work in all?",), ("{S} works {} hours.",), on="job", once="earn"),
    Rule("hours", "+", "hours", "#hours", ("On Sunday, {S} works another {b} hours.",), ("How many hours does {S} work in all?",), ("In all, {S} works {} hours.",), on="job"),
    Rule("paid", "-", "hours", "#hours", ("For {b} of these hours, {S} is in training and gets no pay.",), ("For how many hours is {S} paid?",), ("{S} is paid for {} hours.",), on="job"),
    Rule("cash", "*", "hours|paid", "#wage", ("The pay is ${b} an hour.", "For every hour, {S} gets ${b}."), _EARN, ("{S} earns {} dollars.",), on="job"),
    Rule("cash", "+", "cash", "#gift", ("{S} already had ${b} in a drawer.", "{S} also gets ${b} as a birthday present."), _HAS, ("Now {S} has {} dollars.",), once="plus ratio tax"),
    Rule("purse", "+", "purse|rest", "#gift", ("{F} owes {S} ${b} and pays it back.", "{S} also gets ${b} from {F}.", "Then {S} gets ${b} as a birthday present."), _HAS, ("Now {S} has {} dollars.",), once="plus ratio tax"),
    Rule("cash", "+", "#cash", "cash", ("Before that, {S} had ${a}.", "{S} already had ${a} in a savings box."), _HAS, ("Now {S} has {} dollars.",), once="plus ratio tax"),
    Rule("cash", "*", "#saving", "#weeks", ("{S} saves ${a} a week for {b} weeks.", "Every week for {b} weeks, {S} saves ${a}."), ("How much money does {S} save?",), ("{S} saves {} dollars.",), on="job", once="earn again split ratio"),
    Rule("cash", "*", "cash", "#weeks", ("{S} does the same every week for {b} weeks.", "This happens every week for {b} weeks."), ("How much money does {S} get in all?", "How many dollars does {S} make in these weeks?"), ("In {b} weeks, that is {} dollars.",), once="again plus"),
    Rule("cash", "*", "cash", "#times", ("{F} earns {b} times as much money as {S}.",), ("How much money does {F} earn?",), ("{F} earns {} dollars.",), turns=True, once="compare2 ratio"),
    Rule("both", "x+*", "cash", "#times", ("{F} earns {b} times as much money as {S}.",), ("How much money do {S} and {F} earn together?",), ("{F} earns {} dollars.", "Together, they earn {} dollars."), once="compare2 ratio"),
    Rule("both", "x++", "cash", "#gift", ("{F} earns ${b} more than {S}.",), ("How much money do {S} and {F} earn together?",), ("{F} earns {} dollars.", "Together, they earn {} dollars."), once="compare2 ratio"),
    Rule("both", "+", "cash|purse|rest", "F:cash|purse|rest", ("",), ("How much money do {S} and {F} have together?", "How many dollars do {S} and {F} have in all?"), ("Together, they have {} dollars.",), once="compare2"),
    Rule("gap", "-", "cash|purse|rest", "F:cash|purse|rest", ("",), ("How much more money does {S} have than {F}?", "How many dollars more than {F} does {S} have?"), ("{S} has {} dollars more.",), once="compare2"),
    # cash, less
    Rule("rest", "-", "cash", "#spent", ("{S} pays ${b} for {supplies}.", "{Supplies} cost {S} ${b}.", "Of this money, {S} spends ${b} on {supplies}."), ("How much money does {S} have left after that?", "How many dollars does {S} keep?"), ("{S} keeps {} dollars.",), on="supplies", once="less"),
    Rule("rest", "-", "cash|purse|rest", "#spent", ("{S} spends ${b} of it on {treat}.", "From this money, {S} buys {treat} for ${b}."), _LEFT, ("{S} has {} dollars left.",), once="treat"),
    Rule("rest", "-", "cash|purse", "bought", ("",), _LEFT, ("{S} has {} dollars left.",), once="less"),
    Rule("bought", "*", "#few", "#price", ("{S} then buys {a} {gifts} for ${b} each.", "With this money, {S} buys {a} {gifts} at ${b} each."), (), ("The {gifts} cost {} dollars.",), once="gifts"),
    Rule("bought", "+", "#spent", "#spent", ("{S} spends ${a} on {treat} and ${b} on {treat2}.", "{S} buys {treat} for ${a} and {treat2} for ${b}."), (), ("{S} spends {} dollars.",), once="treat"),
    Rule("rest", "-%", "cash|rest", "#tax", ("{S} has to pay {b} percent of this in taxes.", "{S} gives {b} percent of it to charity."), ("How much money is left for {S}?", "How many dollars does {S} keep?"), ("{b} percent of it is {} dollars.", "{S} keeps {} dollars."), register="full", once="tax"),
    Rule("saved", "%", "cash|rest", "#tax", ("{S} puts {b} percent of this money into a savings account.", "{S} gives {b} percent of it to charity."), ("How many dollars is that?",), ("{b} percent of it is {} dollars.",), register="full", once="tax"),
    Rule("rest", "x-/", "cash|rest|purse", "#parts", ("{S} gives {portion} of the money to {F}.", "{S} spends {portion} of the money on {treat}."), _LEFT, ("That part is {} dollars.", "{S} has {} dollars left."), once="treat"),
    Rule("saved", "/", "cash", "#parts", ("{S} saves {portion} of this money.",), ("How many dollars does {S} save?",), ("{S} saves {} dollars.",), once="tax"),
    Rule("owed", "/", "both|theirs", "#friends", ("They divide all of this money equally among {b} {people}.",), ("How much money does each of the {people} get?", "How many dollars does each of the {people} get?"), ("Each of them gets {} dollars.",), once="split"),
    Rule("owed", "/", "cash", "#friends", ("{S} divides all of this money equally among {b} {people}.", "{S} shares this money equally among {b} {people}."), ("How much money does each of them get?", "How many dollars does each of them get?"), ("Each of them gets {} dollars.",), once="split"),
    Rule("gifts", "/", "cash|purse", "#price", ("{S} spends all of this money on {gifts} at ${b} each.", "With all of this money, {S} buys {gifts} that cost ${b} each."), ("How many {gifts} does {S} buy?",), ("{S} buys {} {gifts}.",), once="split gifts"),
    Rule("gifts", "/", "rest", "#price", ("{S} spends the rest of the money on {gifts} at ${b} each.", "With the rest of the money, {S} buys {gifts} that cost ${b} each."), ("How many {gifts} does {S} buy?",), ("{S} buys {} {gifts}.",), once="split gifts"),
    Rule("lacking", "-", "#dear", "cash|rest|purse", ("{S} wants to buy {dear} that costs ${a}.", "{S} is saving for {dear}, which costs ${a}."), ("How much more money does {S} need?", "How many dollars does {S} still need?"), ("{S} still needs {} dollars.",), once="want"),
    Rule("weeks", "/", "lacking", "#saving", ("From now on, {S} saves ${b} a week.", "{S} can put aside ${b} each week."), ("How many weeks will it take to save the rest?", "In how many weeks can {S} buy it?"), ("That takes {} weeks.",), once="split"),
    Rule("perweek", "/", "lacking", "#weeks", ("{S} wants to have it in {b} weeks and saves the same amount every week.",), ("How much must {S} save each week?",), ("Each week, {S} must save {} dollars.",), once="split"),
    # cost: shopping
    Rule("dish", "", "#dish", "", ("{S} buys {dish} for ${a}.",), (), (), on="shop", once="dish again"),
    Rule("cost", "*", "#few", "#price",
         ("{S} buys {a} {T} for ${b} each.", "{T_} cost ${b} each, and {S} buys {a} of them.", "{S} buys {a} {T}. One {t} costs ${b}.", "{S} puts {a} {T} at ${b} each into the basket."),
         ("How much do the {T} cost?", "How much does {S} pay for the {T}?"), ("The {T} cost {} dollars.",), on="shop"),
    Rule("items", "*", "#lots", "#pack", ("{S} buys {a} packs of {T} with {b} {T} in each pack.",), ("How many {T} does {S} buy?",), ("{S} buys {} {T}.",), on="shop packs"),
    Rule("items", "+", "#few", "#few", ("{S} buys {a} {T} for {him} and {b} for {F}.",), ("How many {T} is that?",), ("{S} buys {} {T}.",), on="shop"),
    Rule("items", "-", "#lots", "#two", ("{S} needs {a} {T} and has {b} of them at home already. {S} buys the rest.",), ("How many {T} does {S} buy?",), ("{S} buys {} {T}.",), on="shop"),
    Rule("cost", "*", "items", "#price", ("One of these {T} costs ${b}.", "Each of the {T} costs ${b}."), ("How much do the {T} cost?", "How much does {S} pay for the {T}?"), ("The {T} cost {} dollars.",), on="shop"),
    Rule("bill", "+", "cost|dish", "U:cost|dish", ("",), _PAY, ("In all, {S} pays {} dollars.",), on="shop"),
    Rule("bill", "+", "bill", "V:cost|dish", ("",), _PAY, ("Altogether, {S} pays {} dollars.",), on="shop"),
    Rule("bill", "+", "cost|bill|dish", "#fee", ("{S} also pays ${b} for delivery.", "Gift wrapping costs another ${b}."), _PAY, ("With this, {S} pays {} dollars.",), on="shop", once="fee off"),
    Rule("gap", "-", "cost", "U:cost", ("",), ("How much more do the {T} cost than the {U}?", "How many dollars more does {S} pay for the {T} than for the {U}?"), ("The {T} cost {} dollars more.",), on="shop"),
    Rule("bill", "-", "cost|bill|dish", "#fee", ("{S} has a coupon for ${b} off.", "The cashier takes ${b} off, because something is scratched."), ("How much does {S} pay?", "How many dollars does {S} have to pay?"), ("After that, {S} pays {} dollars.",), on="shop", once="off tax fee", register="full"),
    Rule("bill", "-%", "cost|bill|dish", "#off", ("There is a discount of {b} percent.", "The shop takes {b} percent off the price.", "{S} has a card that gives {b} percent off."), ("How much does {S} pay?", "How many dollars does {S} pay in the end?"), ("{S} saves {} dollars.", "{S} pays {} dollars."), on="shop", once="off tax fee"),
    Rule("saved", "%", "cost|bill|dish", "#off", ("There is a discount of {b} percent.", "The shop takes {b} percent off the price."), ("How much money does {S} save?",), ("{S} saves {} dollars.",), on="shop", once="off tax fee"),
    Rule("bill", "+%", "cost|bill|dish", "#tax", ("On top of that, there is a sales tax of {b} percent.", "{S} also pays {b} percent of that as tax."), ("How much does {S} pay with the tax?", "How many dollars does {S} pay in all?"), ("The tax is {} dollars.", "{S} pays {} dollars in all."), on="shop", once="off tax fee", register="full"),
    Rule("change", "-", "#bill", "cost|bill|dish", ("{S} pays with ${a}.", "{S} hands the cashier ${a}."), ("How much change does {S} get?", "How many dollars does {S} get back?"), ("{S} gets {} dollars back.",), on="shop", once="pay"),
    Rule("change", "-", "#bill", "cost|bill|dish", ("{S} came to the shop with ${a}.", "Before, {S} had ${a}."), _LEFT, ("{S} has {} dollars left.",), on="shop", once="pay"),
    Rule("lacking", "-", "cost|bill|dish", "#cash", ("{S} has only ${b}.", "But {S} has just ${b}."), ("How much more money does {S} need?", "How many dollars more does {S} need?"), ("{S} needs {} more dollars.",), on="shop", once="pay"),
    Rule("owed", "/", "cost|bill|dish", "#friends", ("{S} and {his} friends, {b} people in all, share the cost equally.", "The cost is split equally among {b} people."), ("How much does each person pay?", "How many dollars does each of them pay?"), ("Each person pays {} dollars.",), on="shop", once="split"),
    Rule("weeks", "/", "cost|bill|dish", "#saving", ("To pay for this, {S} saves ${b} a week.", "{S} can save ${b} a week for it."), ("How many weeks does {S} have to save?",), ("{S} has to save for {} weeks.",), on="shop", once="split"),
    Rule("cost", "*", "cost|bill|dish", "#weeks", ("{S} buys the same things every week for {b} weeks.", "{S} does this once a week for {b} weeks."), ("How much does {S} spend in all?",), ("In {b} weeks, {S} spends {} dollars.",), on="shop weekly", once="again"),
    Rule("unitprice", "/", "#set", "#lots", ("{b} {T} of the same price cost ${a} in all.", "A shop sells {b} {T} of one kind for ${a}."), ("How much does one {t} cost?",), ("One {t} costs {} dollars.",), on="shop", once="set"),
    Rule("cost", "*", "unitprice", "#few", ("{S} buys {b} such {T} at this price.", "At this price, {S} buys {b} {T}."), ("How much does {S} pay?", "How many dollars does {S} pay?"), ("They cost {} dollars.",), on="shop"),
    Rule("theirs2", "*", "unitprice", "#few", ("{F} wants {b} of the same {T}, at the same price each.",), ("How much does {F} pay?",), ("{F} pays {} dollars.",), on="shop", turns=True),
    Rule("gap", "-", "unitprice", "#two", ("In another shop, one {t} costs ${b} less.",), ("How much does one {t} cost in the other shop?",), ("There it costs {} dollars.",), on="shop"),
)  # fmt: skip
