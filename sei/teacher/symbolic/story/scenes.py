"""Scenes: where a story takes place, the things in it, and the words and the sizes of numbers that go with them.

Place in the flow: data for `planner` and `tell`. What a scene has (`has`) decides which rules may be told in it. The words are ours.

Example::

    SCENES[0].words["gains"]        # "bakes"
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Range = tuple[int, int, int]


@dataclass(frozen=True)
class Scene:
    """One place with its things (singular/plural), words, texts for `@name` in rules, and ranges of numbers."""

    name: str
    has: str
    things: str
    words: Mapping[str, str]
    texts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ranges: Mapping[str, Range] = field(default_factory=dict)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Singular and plural of each thing."""
        pairs = []
        for item in self.things.split(", "):
            singular, _, plural = item.partition("/")
            pairs.append((singular, plural or singular + "s"))
        return pairs


def _verb(does: str, do: str) -> dict[str, str]:
    return {"gains": does, "gain": do}


def _box(container: str, pack: str = "") -> dict[str, str]:
    words = {"C": container, "Cs": container + ("es" if container.endswith("x") else "s")}
    if pack:
        words |= {"K": pack, "Ks": pack + ("es" if pack.endswith("x") else "s")}
    return words


_ALL = "lots rate twice share loses bad pack event sell supplies q1 "

SCENES: tuple[Scene, ...] = (
    Scene(
        "bakery", _ALL + "dozen", "muffin, cupcake, bagel, cookie, bread roll, doughnut",
        _verb("bakes", "bake") | _box("tray", "box") | {"friends": "neighbors", "friend": "neighbor", "event": "bake sale", "supplies": "flour, butter and sugar", "bad": "burnt", "sort": "filled with jam", "q1": "plain", "q2": "chocolate"},
        {"loses": ("{b} of the {T} get burnt and are thrown away.", "{b} of the {T} fall on the floor.", "The family eats {b} of the {T}.")},
        {"per": (6, 24, 1), "rate": (8, 30, 1), "price": (1, 4, 1)},
    ),
    Scene(
        "orchard", _ALL, "apple, pear, peach/peaches, plum, orange, lemon",
        _verb("picks", "pick") | _box("basket", "bag") | {"friends": "neighbors", "friend": "neighbor", "event": "harvest festival", "supplies": "the rent of a market stall", "bad": "bruised", "sort": "still hard", "q1": "ripe", "q2": "green"},
        {"loses": ("{b} of the {T} are rotten and are thrown away.", "The goats eat {b} of the {T}.", "{b} of the {T} fall into the mud."),
         "lots": ("{S} picks {a} baskets of {T}. Each basket holds {b} {T}.",)},
        {"per": (10, 30, 1), "rate": (15, 60, 5), "price": (1, 3, 1), "goods": (30, 160, 2)},
    ),
    Scene(
        "hens", _ALL + "dozen", "egg",
        _verb("collects", "collect") | _box("basket", "carton") | {"friends": "neighbors", "friend": "neighbor", "event": "village breakfast", "supplies": "chicken feed", "bad": "cracked", "sort": "brown", "q1": "brown", "q2": "white"},
        {"loses": ("{b} of the eggs break on the way to the house.", "The family eats {b} of the eggs for breakfast.")},
        {"per": (6, 20, 1), "rate": (6, 24, 1), "price": (1, 2, 1), "pack": (6, 12, 2), "packprice": (2, 6, 1)},
    ),
    Scene(
        "workshop", _ALL, "bracelet, candle, birdhouse, necklace, clay pot, wooden toy",
        _verb("makes", "make") | _box("set", "box") | {"friends": "cousins", "friend": "cousin", "event": "craft fair", "supplies": "materials", "bad": "blue", "sort": "blue", "q1": "large", "q2": "small"},
        {"loses": ("{b} of the {T} break on the way to the fair.", "{S} keeps {b} of the {T} as presents.")},
        {"rate": (2, 6, 1), "per": (3, 8, 1), "price": (5, 25, 1), "goods": (12, 60, 1), "some": (4, 24, 1), "packprice": (20, 60, 5)},
    ),
    Scene(
        "collection", "lots twice share loses bad pack q1 sell", "sticker, stamp, marble, trading card, postcard, toy animal",
        _verb("buys", "buy") | _box("pack", "box") | {"friends": "classmates", "friend": "classmate", "bad": "duplicates", "sort": "duplicates", "q1": "new", "q2": "old"},
        {"loses": ("{b} of the {T} get lost when the family moves.", "{b} of the {T} get lost at school.",)},
        {"per": (4, 20, 1), "price": (1, 4, 1), "pack": (4, 20, 1), "packprice": (8, 30, 1)},
    ),
    Scene(
        "party", "lots twice share loses bad pack event q1", "balloon, paper hat, party whistle, paper lantern",
        _verb("buys", "buy") | _box("pack", "bag") | {"friends": "children", "friend": "child", "event": "school party", "bad": "red", "sort": "red", "q1": "red", "q2": "yellow"},
        {"loses": ("{b} of the {T} tear right away.", "{b} of the {T} are used for decoration.")},
        {"per": (6, 24, 1)},
    ),
    Scene(
        "garden", "lots rate twice loses bad event q1 sell", "tulip, rose bush/rose bushes, sunflower, tomato plant, lavender plant",
        _verb("plants", "plant") | {"C": "row", "Cs": "rows", "event": "garden show", "bad": "yellow", "sort": "yellow", "q1": "red", "q2": "yellow"},
        {"loses": ("{b} of the {T} do not survive the winter.", "Rabbits eat {b} of the {T}."),
         "lots": ("{S} plants {a} rows of {T} with {b} {T} in every row.", "There are {a} rows in the garden, and {S} plants {b} {T} in each row.")},
        {"per": (5, 20, 1), "rate": (4, 12, 1), "price": (2, 9, 1)},
    ),
    Scene(
        "stationery", "lots twice share loses pack q1 bad", "pencil, notebook, marker, eraser, crayon, pen",
        _verb("buys", "buy") | _box("pack", "pencil case") | {"friends": "students", "friend": "student", "bad": "blue", "sort": "blue", "q1": "blue", "q2": "black"},
        {"loses": ("{b} of the {T} are used up in the first month.", "{b} of the {T} go missing.")},
        {"per": (4, 24, 1), "price": (1, 4, 1)},
    ),
    Scene(
        "library", "lots twice loses bad pack", "book, comic book, magazine, picture book",
        _verb("sorts", "sort") | _box("crate", "shelf") | {"Ks": "shelves", "bad": "damaged", "sort": "about animals"},
        {"loses": ("{b} of the {T} are too old and are thrown away.", "Visitors borrow {b} of the {T}."),
         "lots": ("{S} sorts {a} crates of {T}. There are {b} {T} in each crate.",)},
        {"per": (8, 30, 1), "pack": (5, 25, 1)},
    ),
    Scene(
        "sewing", _ALL, "scarf/scarves, pillow, apron, woolen hat, tote bag",
        _verb("sews", "sew") | _box("set", "parcel") | {"friends": "cousins", "friend": "cousin", "event": "winter market", "supplies": "cloth and thread", "bad": "green", "sort": "green", "q1": "striped", "q2": "plain"},
        {"loses": ("{b} of the {T} turn out too small and are not used.", "{S} keeps {b} of the {T} for the family.")},
        {"rate": (2, 5, 1), "per": (3, 6, 1), "price": (6, 30, 1), "goods": (12, 48, 1), "some": (4, 20, 1), "packprice": (30, 80, 5)},
    ),
    Scene(
        "lemonade", "rate twice loses sell supplies event", "cup of lemonade/cups of lemonade, glass of iced tea/glasses of iced tea, cup of juice/cups of juice",
        _verb("pours", "pour") | {"event": "street party", "supplies": "lemons, sugar and cups"},
        {"loses": ("{b} of the {T} get spilled.", "{S} and {F} drink {b} of the {T} themselves.")},
        {"rate": (6, 20, 1), "price": (1, 3, 1)},
    ),
    Scene(
        "toyshop", "lots loses bad pack sell q1", "toy car, puzzle, doll, board game, toy train",
        _verb("orders", "order") | _box("crate", "box") | {"bad": "made of wood", "sort": "made of wood", "q1": "large", "q2": "small"},
        {"loses": ("{b} of the {T} arrive broken and are sent back.", "{b} of the {T} are put into the shop window.")},
        {"per": (6, 20, 1), "price": (6, 25, 1), "packprice": (30, 90, 5)},
    ),
    # what is covered bit by bit
    Scene(
        "reading", "flow whole minutes skip", "page",
        _verb("reads", "read") | {"task": "reading"},
        {"whole": ("The book has {a} pages.", "The whole book is {a} pages long."), "wholes": ("{S} is reading a book of {a} pages.", "{S} has to read {a} pages for school."), "togo": ("How many pages does {S} still have to read?", "How many pages of the book are left?")},
        {"rate": (8, 40, 1), "some": (10, 60, 1), "whole": (120, 480, 10), "minutes": (2, 5, 1), "goods": (20, 90, 1)},
    ),
    Scene(
        "running", "flow whole sponsor", "lap",
        _verb("runs", "run") | {"sponsor": "a local shop"},
        {"whole": ("{S} has set a goal of {a} laps.", "The goal is {a} laps."), "wholes": ("{S} has a goal of {a} laps.",), "togo": ("How many laps are still missing?", "How many more laps does {S} have to run?")},
        {"rate": (4, 15, 1), "some": (5, 25, 1), "whole": (60, 300, 10), "price": (1, 4, 1), "goods": (10, 60, 1)},
    ),
    Scene(
        "driving", "drive flow whole", "mile",
        _verb("drives", "drive"),
        {"whole": ("The whole trip is {a} miles long.", "The trip is {a} miles in all."), "wholes": ("{S} is on a trip of {a} miles.",), "togo": ("How many miles are left to drive?", "How many miles does {S} still have to drive?")},
        {"rate": (20, 80, 5), "some": (30, 120, 5), "more": (10, 60, 5), "loss": (10, 60, 5), "few": (5, 30, 5), "whole": (300, 900, 10), "speed": (40, 65, 5), "mpg": (20, 40, 1), "price": (3, 5, 1), "goods": (60, 240, 10)},
    ),
    Scene(
        "practice", "flow practice", "minute",
        _verb("practices", "practice"), {},
        {"rate": (15, 60, 5), "some": (20, 90, 5), "more": (5, 45, 5), "loss": (5, 30, 5), "goods": (30, 150, 5)},
    ),
    Scene(
        "homework", "flow whole minutes skip", "math problem",
        _verb("solves", "solve") | {"task": "homework"},
        {"whole": ("The workbook has {a} math problems.",), "wholes": ("{S} has a workbook with {a} math problems.",), "togo": ("How many math problems are left?", "How many math problems does {S} still have to solve?")},
        {"rate": (4, 15, 1), "some": (6, 30, 1), "whole": (60, 240, 10), "minutes": (2, 6, 1), "goods": (10, 60, 1)},
    ),
    Scene(
        "photos", "flow whole minutes", "photo",
        _verb("edits", "edit") | {"task": "editing photos"},
        {"whole": ("There are {a} photos from the trip in all.",), "wholes": ("{S} has {a} photos from a wedding to edit.",), "togo": ("How many photos does {S} still have to edit?", "How many photos are left to edit?")},
        {"rate": (5, 20, 1), "some": (8, 40, 1), "whole": (80, 400, 10), "minutes": (2, 8, 1), "goods": (15, 80, 1)},
    ),
    # money
    *(
        Scene(f"job {place}", "job", "thing", _verb("gets", "get") | {"job": place})
        for place in ("in a cafe", "at a supermarket", "as a babysitter", "at the public pool", "in a library", "on a farm")
    ),
    Scene("groceries", "shop weekly", "jar of honey/jars of honey, bag of rice/bags of rice, melon, loaf of bread/loaves of bread, bottle of juice/bottles of juice, box of tea/boxes of tea, pineapple", _verb("buys", "buy"), {}, {"price": (2, 7, 1)}),
    Scene("craft store", "shop packs", "bead, button, candle, paintbrush/paintbrushes, ribbon", _verb("buys", "buy"), {}, {"price": (1, 3, 1)}),
    Scene("clothes", "shop", "T-shirt, pair of socks/pairs of socks, scarf/scarves, cap, sweater, belt", _verb("buys", "buy"), {}, {"price": (6, 30, 1), "fee": (4, 12, 1)}),
    Scene("school shop", "shop", "notebook, ruler, paint set, pencil case, folder, calculator", _verb("buys", "buy"), {}, {"price": (2, 12, 1)}),
    Scene("book fair", "shop", "novel, cookbook, comic book, atlas/atlases, puzzle book, poster", _verb("buys", "buy"), {}, {"price": (4, 20, 1)}),
    Scene("garden center", "shop", "flower pot, rose bush/rose bushes, bag of soil/bags of soil, watering can, shovel, lemon tree", _verb("buys", "buy"), {}, {"price": (5, 30, 1), "fee": (5, 20, 1)}),
    Scene("toy store", "shop", "board game, kite, toy car, puzzle, teddy bear, ball", _verb("buys", "buy"), {}, {"price": (4, 25, 1)}),
)  # fmt: skip

# Words that any scene may need, one drawn for each story.
COMMON: dict[str, tuple[str, ...]] = {
    "dear": (
        "a bicycle",
        "a guitar",
        "a tent",
        "a camera",
        "a telescope",
        "a skateboard",
        "a sewing machine",
        "a desk",
    ),
    "treat": ("a birthday present", "a board game", "a concert ticket", "a sweater", "a backpack", "a basketball"),
    "treat2": ("groceries", "a pair of shoes", "a train ticket", "a pair of headphones", "a lamp"),
    "gifts": ("notebooks", "puzzles", "flower pots", "picture frames", "comic books", "mugs", "model planes"),
    "dish": ("a cake", "a backpack", "an umbrella", "a lamp", "a basket"),
    "when": ("On Saturday", "This week", "In May", "One day", "Today"),
    "people": ("children", "cousins", "friends", "helpers", "sisters"),
    "friends": ("friends", "cousins", "classmates"),
}
TIMES = (
    ("in the morning", "in the afternoon", "in the evening"),
    ("on Monday", "on Tuesday", "on Wednesday"),
    ("on Friday", "on Saturday", "on Sunday"),
    ("in the first week", "in the second week", "in the third week"),
    ("in June", "in July", "in August"),
)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
