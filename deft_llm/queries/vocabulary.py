"""Everyday words for what a query can name: parts of the face, sides, directions, AUs, emotions.

Phrases of one meaning are separated by "|". Words are compared by their stem (``spelling.stem``),
so that one form stands for its plural and its tenses. The understanding of questions
(``understand.py``) and the questions of the instruction data use the same phrases; the first one of
each is what the library itself writes.
"""

from __future__ import annotations

from deft_llm import facs

#: Part or group (``query.PARTS``, ``query.GROUPS``) -> phrases.
REGIONS: dict[str, str] = {
    "brow": "eyebrows|brow|eye brow|brow area|brow region|eyebrow area|above the eye",
    "inner brow": "inner eyebrows|inner brow|inner part of the eyebrow|inner end of the brow|"
    "inner end of the eyebrow|inside of the eyebrow|inner corner of the eyebrow|"
    "inner part of the brow|inner half of the brow|inner half of the eyebrow|inside of the brow|"
    "inner corner of the brow",
    "outer brow": "outer eyebrows|outer brow|outer part of the eyebrow|outer end of the brow|"
    "outer end of the eyebrow|outside of the eyebrow|tail of the eyebrow|brow tail|"
    "outer part of the brow|outer half of the brow|outer half of the eyebrow|outside of the brow|"
    "tail of the brow",
    "glabella": "area between the eyebrows|glabella|between the eyebrow|between the brow|"
    "between the eye|root of the nose|frown line|"
    "bridge of the nose|nose bridge|space between the eyebrow|space between the brow|"
    "area between the brow|middle of the forehead",
    "forehead": "forehead|forehead area|forehead region",
    "eye": "eyes|eyelids|eye lid|lid|eye area|eye region|around the eye|corner of the eye|"
    "eye corner",
    "upper lid": "upper eyelids|upper lid|top eyelid|top lid|upper eye lid",
    "lower lid": "lower eyelids|lower lid|bottom eyelid|bottom lid|under the eye|below the eye",
    "cheek": "cheeks|cheekbone|cheek area|cheek region",
    "nostril wing": "nostrils|nose|nostril wing|wing of the nose|side of the nose|nasal|nosewing|"
    "nose area|nose region|nose wing|beside the nose",
    "mouth": "mouth|mouth area|mouth region|around the mouth",
    "mouth corner": "corners of the mouth|mouth corner|lip corner|corner of the lip|mouthcorner|"
    "edge of the mouth|side of the mouth|end of the mouth|corner|angle of the mouth|mouth angle",
    "upper lip": "upper lip|top lip",
    "lower lip": "lower lip|bottom lip|under lip",
    "lip": "lips|lip area|lip region",
    "chin": "chin|jaw|jawline|lower jaw|chin boss|chin area|chin region|below the mouth|"
    "under the mouth|jaw area",
    "upper face": "upper half of the face|upper face|upper half|upper part of the face|"
    "top of the face|top half|upper part|above the nose",
    "lower face": "lower half of the face|lower face|lower half|lower part of the face|"
    "bottom of the face|bottom half|lower part|bottom part of the face|below the nose|"
    "under the nose",
}

SIDES: dict[str, str] = {
    "left": "left|left side|left hand side|left half|on the left|leftmost",
    "right": "right|right side|right hand side|right half|on the right|rightmost",
    "both": "both|both side|either side|left and right|left and the right",
    "other": "other side|other one|opposite side|other half|opposite one",
}

#: Way -> phrases. Words that are no direction alone ("in") count only beside a movement.
WAYS: dict[str, str] = {
    "up": "up|upward|upwards|raise|lift|rise|rose|risen|elevate|higher|climb|uplift|hike|"
    "turn up|arch|ascend|go north",
    "down": "down|downward|downwards|lower|drop|sink|sank|sunk|fall|fell|fallen|droop|sag|descend|"
    "slump|go south",
    "inward": "inward|inwards|together|toward the middle|towards the middle|to the middle|"
    "toward the nose|towards the nose|closer together|toward each other|towards each other|"
    "medially|closer to each other",
    "outward": "outward|outwards|apart|sideways|to the side|away from the middle|laterally|"
    "wider|away from the nose|away from each other",
    "left": "to the left|toward the left|towards the left|leftward|leftwards",
    "right": "to the right|toward the right|towards the right|rightward|rightwards",
}

#: AU numbers -> what people call them in one word. FACS's own names are added by ``au_phrases``.
ACTIONS: dict[tuple[int, ...], str] = {
    (1, 2): "frontalis",
    (1,): "frontalis pars medialis|medial frontalis|inner frontalis",
    (2,): "frontalis pars lateralis|lateral frontalis|outer frontalis",
    (6,): "orbicularis oculi pars orbitalis|pars orbitalis|orbital orbicularis oculi",
    (7,): "orbicularis oculi pars palpebralis|pars palpebralis|palpebral orbicularis oculi",
    (9,): "levator labii superioris alaeque nasi|alaeque nasi",
    (11,): "zygomaticus minor|zygomatic minor",
    (13,): "levator anguli oris|caninus",
    (31,): "masseter",
    (12,): "smile|grin|smiley|laugh|giggle|beam|chuckle|zygomaticus|zygomaticus major|"
    "zygomatic major|zygomatic",
    (10,): "levator labii|levator labii superioris",
    (15,): "depressor anguli oris|triangularis",
    (16,): "depressor labii|depressor labii inferioris",
    (20,): "risorius",
    (21,): "platysma",
    (18, 22, 23, 24): "orbicularis oris",
    (12, 14): "smirk|half smile|lopsided smile|crooked smile",
    (4,): "frown|scowl|glower|corrugator|corrugator supercilii|procerus",
    (5,): "stare|goggle|wide eyed|levator palpebrae",
    (6, 7): "squint|crow foot|crows foot|crow feet|crows feet|orbicularis oculi",
    (9, 10): "sneer|snarl",
    (9, 10, 20): "grimace|wince",
    (14,): "dimple|buccinator",
    (17,): "mentalis",
    (17, 18, 22): "pout|sulk",
    (18,): "pucker|kiss|kissy",
    (25, 26, 27): "gape|yawn",
}
#: AU numbers -> (parts, verbs or adjectives): named by a part of the face and what it does, in
#: any order: "wrinkled her nose", "was the nose wrinkled".
PAIRS: dict[tuple[int, ...], tuple[frozenset[str], str]] = {
    (4,): (frozenset({"brow", "forehead", "inner brow"}), "furrow|knit|knitted|scrunch|draw in"),
    (5,): (frozenset({"eye", "upper lid"}), "widen|wide|wider|big|bigger|bulge"),
    (6, 7): (
        frozenset({"eye", "lower lid"}),
        "narrow|narrower|squeeze|screw up|tighten|tense|crinkle|smaller|shrink",
    ),
    (9,): (frozenset({"nostril wing"}), "wrinkle|scrunch|crinkle|scrunch up|crease|turn up"),
    (9, 10): (frozenset({"lip", "upper lip"}), "curl"),
    (18, 23, 24): (frozenset({"lip", "mouth"}), "purse|pucker|narrow|narrower"),
    (20,): (frozenset({"lip", "mouth"}), "stretch"),
    (23, 24): (
        frozenset({"lip", "mouth"}),
        "press|tight|tighten|thin|tense|tension|squeeze|compress",
    ),
    (25, 26, 27): (frozenset({"mouth", "lip", "chin"}), "open|part|apart|agape|ajar"),
    (28,): (frozenset({"lip", "lower lip", "upper lip"}), "suck|bite|bit|bitten"),
    (31,): (frozenset({"chin"}), "clench|grit"),
    (38,): (frozenset({"nostril wing"}), "flare|widen"),
}

CLASSES: dict[str, str] = {
    "happiness": "happy|happiness|joy|joyful|glad|pleased|cheerful|delighted|amused|amusement|"
    "delight|pleasure|happily|joyous|overjoyed|elated|merry|thrilled|over the moon|joyfully|"
    "good humour|good humor|jolly|gleeful|happier|smiley face|chuffed|"
    "exultant|jubilant",
    "sadness": "sad|sadness|unhappy|sorrow|sorrowful|grief|gloomy|melancholy|miserable|sadly|"
    "unhappiness|tearful|feel down|feeling down|heartbroken|mournful|downcast|dejected|grieving|"
    "sadder|saddened|gloom|gutted|bummed|bummed out|crestfallen|glum|teary|"
    "weepy|forlorn|despondent",
    "anger": "angry|anger|mad|furious|annoyed|irritated|rage|annoyance|irritation|angrily|fury|"
    "enraged|pissed off|outraged|pissed|livid|angrier|angered|irate|infuriated|exasperated|"
    "aggravated|raging|grumpy|peeved|irked|cheesed off|vexed|indignant|indignation|"
    "cranky|resentful|seething",
    "fear": "afraid|fear|fearful|scared|frightened|terrified|fright|scare|panicked|panic|dread|"
    "horrified|horror|terror|petrified|alarmed|spooked|terrifying|fearfully|panicky|freaked out|"
    "creeped out|aghast",
    "disgust": "disgusted|disgust|revolted|revulsion|grossed out|repulsed|repulsion|disgusting|"
    "nauseated|repelled|grossed|sickened|revolting|distaste",
    "contempt": "contemptuous|contempt|scorn|scornful|disdain|disdainful|derision|"
    "condescending|condescension|look of contempt|contemptuously|smug|haughty",
    "surprise": "surprised|surprise|astonished|amazed|startled|shocked|astonishment|amazement|"
    "shock|surprising|stunned|taken aback|astounded|caught off guard|flabbergasted|dumbfounded|"
    "surprises|startle|gobsmacked|thunderstruck|bewildered|bewilderment",
    "repression": "repressed|repression|suppressed|suppression|holding back|held back",
    "positive": "positive|good mood|pleasant|nice emotion|good feeling|good emotion|feel good|"
    "feeling good|positively",
    "negative": "negative|upset|bad mood|unpleasant|bad feeling|bad emotion|feel bad|feeling bad|"
    "negatively",
    "others": "something else|others|another emotion|none of these",
    "none": "neutral|no emotion|no expression|expressionless|unemotional|emotionless|deadpan|"
    "poker face|calm|blank|neutrality|without emotion|no feeling|no feelings|impassive|"
    "blank face|indifferent|straight face|no emotions",
}

MOMENTS: dict[str, str] = {
    "onset": "onset|start|begin|began|begun|beginning|set in|starting|first sign|commence|kick in|"
    "kick off|first twitch|first hint|first trace",
    "apex": "apex|peak|climax|maximum|strongest moment|strongest point|high point|height of|"
    "at its strongest|at its most|at the strongest|at its largest|turn round|"
    "turning point|culminate|at its greatest|farthest from rest|strongest moment of the clip|"
    "full strength|full force|fullest",
    "offset": "offset|end|ending|finish|fade|stop|over|back at rest|back to rest|back to normal|"
    "until when|come to rest|until rest|until it is gone|die down|disappear|gone|"
    "vanish|last motion|relax|"
    "subside|wear off|decay",
}


def spoken(table: dict[str, str], name: str) -> str:
    """The first phrase of a name: how the library itself says it."""
    return table[name].split("|")[0]


def au_phrases() -> dict[str, tuple[int, ...]]:
    """Phrase -> AU numbers: FACS's names and what people say."""
    named = {au.name: (number,) for number, au in facs.ACTION_UNITS.items() if number != 45}
    said = {phrase: aus for aus, listed in ACTIONS.items() for phrase in listed.split("|")}
    return {**said, **named}
