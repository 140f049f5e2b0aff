"""What a question is about besides the face of the clip, and words that nothing accounts for.

"Did the stock price go up?" has a direction and a verb, but is not about a face. What a question
names and the vocabulary does not know is a reason to ask back rather than to answer. "Are you
happy?", "raise the volume" and "did she lift her hand?" are told by their form.
"""

from __future__ import annotations

import re

from deft_llm.queries.lexicon import lexicon
from deft_llm.queries.marks import Asked
from deft_llm.queries.spelling import stem

#: Words that may stand in any question about a clip and name nothing in it.
_PLAIN = frozenset(
    """a an the this that these those it its itself he she they him her them his their theirs hers
    i me my we us our you your yours one ones who whom whose which what where when why how here
    there somebody someone anybody anyone everybody person people man woman guy lady girl boy
    baby child kid son daughter grandson granddaughter mother father mum mom dad brother sister
    grandpa grandma uncle aunt cousin client customer student toddler infant teenager lad bloke
    subject suspect employee wife husband friend patient human participant actor speaker am is
    are was were be been being do does did done doing has have had having can could will would
    shall should may might must let need dare of in on at to from by with for about into onto
    over under between during within after before since until till as than and or but nor so if
    whether because while though although too also only just even still again ever never not no
    none yes yeah nope else instead rather both either neither all any some each every other
    another same such own more most less least many much few several lot bit little really
    actually exactly precisely roughly approximately maybe perhaps possibly probably clearly
    obviously definitely simply quite very totally completely entirely fully absolutely
    basically altogether overall total together apart away back out off up down already yet now
    then today finally once twice through throughout along across around near next see saw seen
    seeing look looks looked looking seem seems seemed appear appears tell told say says said
    show shows showed shown give gives gave given get gets got go goes went gone going come
    comes came make makes made take takes took taken find finds found know knows known think
    thinks thought believe guess suppose call called name named mean means meant want wants use
    used using notice noticed detect detected spot spotted observe observed measure measured
    measurement measuring recognise recognised recognize read reading pick picked choose chosen
    decide decided list listed describe explain state compare count put set keep kept stay stays
    stayed remain remains remained become becomes became turn turned begin start thing things
    way kind type sort part point case idea sense reason moment something anything nothing
    question answer answers result results value number numbers clip video recording footage
    film sequence image images frame frames face faces facial model program system please thanks
    okay ok well right correct true false possible sure able good best better enough like likely
    whole entire certain single first second third last main visible present active inactive
    absent involved related affected responsible behind based side sides half area areas region
    regions place places zone seconds ms s px pixel pixels percent time times long short zero
    two three four five six seven eight nine ten quarter dozen due according regarding
    concerning respect terms compared versus vs per sir madam mate hi hello hey welcome sorry
    wonder wondering curious interested plain simple quick brief detail details exact rough fit
    fits word words coder coders code coded scheme coarsely coarse fine allow allows tenable
    borne defended defend accept consistent check located locate output produce object spell
    background enumerate lie lies description describing colleague
    faster slower triple rationale pose sound sounds flash above beneath beside versus against
    besides except aside shoot shot pull pulls pulled pulling push pushed pushes draw draws drawn
    jump jumped hint trace touch sign feature features muscle muscles activity action life amount
    footage material sort gone past during spots report story short pick picks notice note add
    predict predicted pause complete skin
    belong belongs contain contains combination combinations occur occurs occurred
    error bar bars margin deviation
    mm cm millimetre millimeter centimetre centimeter inch velocity score scores compute computed
    properly correctly lowest highest standard plateau st nd rd th
    nearly almost threshold closest nearest fraction proportion rank ranked ranking worst
    reach reaches reached truncated snr signal ratio involved
    trained training uncertainty deviation calibrated double max top removed landmark landmarks
    noisiest offline upload store save keep send share private privacy
    exist exists existed longer shorter
    flashes follow follows stated mark print write written ground truth
    """.split()  # noqa: SIM905
)
_STEMS = frozenset(map(stem, _PLAIN))
_BODY = (
    r"hands?|arms?|foot|feet|legs?|shoulders?|knees?|fingers?|elbows?|hips?|toes?|wrists?|thumbs?|"
    r"chests?|hearts?|belly|stomach|spine|tongue"
)
_ELSEWHERE = tuple(
    re.compile(pattern)
    for pattern in (
        r"^(?:the|this|that) (?:film|clip|video|movie) (?:is|was|looks) (?:\w+ )?(?:great|good|bad|"
        r"nice|boring|terrible|awful|fine|funny|cool)$",
        # About the program, which has no face.
        r"\byour (?:favou?rite|own)\b",
        r"^(?:do|did|can|could|would|will) you (?:\w+ )?(?:feel|smile|frown|blink|laugh|cry|like|"
        r"move|"
        r"raise|sleep|dream|love|enjoy|wink|get (?:angry|sad|happy|scared))\b",
        r"^do you have (?:an? |any )?(?:face|eyes?|feelings?|emotions?|body|mouth|eyebrows?|"
        r"friends?)\b",
        r"^(?:when|where|which side|how (?:old|fast|big|smart|clever|tall|much)) (?:are|"
        r"were) you\b",
        r"\b(?:you are|you're|are you) not human\b|^what time is it\b",
        r"\b(?:cats?|dogs?|sofa|songs?)\b",
        # Orders.
        r"^(?:(?:frame (?:the|a|my|this)|compose|draw|translate|edit|delete|send|set|play|book|"
        r"sing|paint|pretend|imagine|"
        r"ignore|disregard|forget|remind(?! me (?:what|which|how|when|where|why))|buy|sell|cook|"
        r"raise|repeat after|"
        r"lower(?! (?:eye|lid|lip|face|half|part|region))|"
        r"turn (?:up|down|on|off|left|right|round|around)|"
        r"from now on|you must|make (?:him|her|them))\b|say (?:that|it|\W))",
        r"^(?:write|tell|give|sing)\b.*\b(?:songs?|poems?|story|stories|essays?|jokes?|haikus?|"
        r"letters?|"
        r"tweets?|emails?|rhymes?|riddles?)\b",
        # The world at large.
        r"\b(?:do|does|can|why|are|have|all) (?:most |all |some )?(?:people|humans|dogs|cats|"
        r"babies|animals|"
        r"women|men|fish|monkeys|we(?! (?:have|see|find|get|measure|observe|know|talking|dealing|"
        r"looking|exclude|rely|say|call|count|conclude|tell|trust|when|by|at|rule)\b))\b",
        r"^(?:can|could|do|are) (?:emotions?|feelings?) (?:really |ever |even )?(?:be |show|reveal|"
        r"appear|visible)",
        r"\bin the world\b|\bon earth\b|\bon average\b|\bof all time\b|\bin history\b|"
        r"(?<!most )(?<!last )(?<!movement )(?<!motion )(?<!least )\bof all$|"
        r"\bin life\b",
        r"\b(?:does|has|have|in|of) (?:a|the human|an average|every) (?:face|head|person|human|"
        r"body|man|woman|boy|girl|child|adult)\b|\b(?:does|has|have) (?:a|every) smile\b",
        r"\bwho (?:invented|discovered|wrote|painted|won)\b|\bborn\b",
        r"^what does .* mean (?:to|for) (?:you|me|us)\b",
        r"^how (?:do|can|could|should|would) (?:i|one) (?:\w+ )?(?:raise|lower|move|train|make|"
        r"stop|improve|get|look|smile|fix|hide|control|learn|treat|cure|avoid|become|relax|wink|"
        r"frown|lift|wash|shave|paint|draw)\b",
        r"^(?:can|may|could|should) i (?:see|touch|have|kiss|paint|close|open|move|get) my\b",
        r"^how much (?:is|are|makes?) \d+ (?!px|pixels?|percent|seconds?|ms|s\b)",
        r"^(\w+) \1 (?:every|all|my|dear|then|and)",  # a toast
        # Sayings in which the face is none.
        r"\b(?!side|left|right)(\w+) to \1\b|\bfirst come\b|"
        r"\bneck and neck\b|\bturn(?:ed|ing)? the other cheek\b|\bthrough the nose\b|"
        r"\bhead over heels\b|\btongue in cheek\b|\blip service\b|\bface value\b|"
        r"(?<!his )(?<!her )(?<!their )(?<!the )\bjaw dropping\b|"
        r"\b(?:keep|kept|caught|catch) (?:an|my|your|his|her) eye\b|"
        r"\bsee eye to eye\b|\bheads? up\b(?= (?:on|about|for|please)|$)|\bin the face of\b|"
        r"\bword of mouth\b|\bby a nose\b",
        # Of the person, but not of the face.
        rf"(?<!on the other )(?<!crow )(?<!crows )\b(?:{_BODY})\b(?! side)"
        r"(?! of (?:the|her|his|their) (?:nose|lip|brow))",
        r"\b(?:stand|stood|sit|sat|lie|lay) (?:up|down)\b|\bshrug|\bbreath|\bsneez|\bcough|\bclap",
    )
)


def is_elsewhere(text: str) -> bool:
    """Whether a text is about something else than the face of the clip, by its form.

    Args:
        text: As ``spelling.normal`` writes it, without manners.
    """
    words = text.strip(" ?!.").split()
    # "Did did did", "left right left right".
    repeated = len(words) > 2 and any(words == words[:n] * (len(words) // n) for n in (1, 2))
    return repeated or any(pattern.search(text.strip(" ?!.")) for pattern in _ELSEWHERE)


def strangers(asked: Asked) -> tuple[str, ...]:
    """Words of a question that neither the vocabulary nor plain English accounts for."""
    marked = {i for mark in asked.marks for i in range(mark.at, mark.to)}
    return tuple(
        word
        for i, word in enumerate(asked.words)
        if i not in marked and word.isalpha() and len(word) > 1 and not _is_plain(word)
    )


def _is_plain(word: str) -> bool:
    # A word of a longer phrase ("upper", "hand") names nothing alone, but belongs to faces.
    return word in _PLAIN or stem(word) in _STEMS or stem(word) in lexicon().known
