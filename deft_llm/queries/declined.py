"""Topics that the motion of a face says nothing about, told by their words.

The words are stems, as people use them of a person. A word that has a harmless use too counts only
beside a person: "trust him", but not "trust this result". The list is our own choice.
"""

from __future__ import annotations

import re

_PERSON = (
    r"(?:person|man|woman|guy|lady|girl|boy|child|kid|subject|suspect|candidate|patient|"
    r"witness|applicant|customer|speaker|defendant|employee|student|worker)"
)
_WHO = rf"(?:he|she|they|him|her|them|someone|somebody|(?:this|that|the) {_PERSON}|this one)"
_BE = r"(?:is|are|was|were|does|do|did|has|have|had)"

_WHOSE = r"(?:his|her|their|the person|the man|the woman|the girl|the boy|this person)"
_FEATURE = r"(?:smile|face|eyes?|lips?|mouth|nose|chin|looks|beauty|eyebrows?)\b"
_BODY = (
    r"(?:nose|eyes?|lips?|mouth|ears?|chin|forehead|face|hair|eyebrows?|brows?|teeth|beard|skin|"
    r"neck|"
    r"cheeks?)"
)
_ROLES = (
    r"(?:leader|manager|boss|criminal|thief|liar|killer|actor|actress|doctor|teacher|model|star)"
)

_TOPICS: dict[str, tuple[str, ...]] = {
    "lying": (
        r"(?<!motion )(?<!movement )\bl(?:ie|ied|ying|iar|ies)\b"
        r"(?! (?:down|in|at|on|between|later|earlier|after|before|within))",
        r"\bdecei|\bdecept|\bdishonest|\bhonest(?:y)?\b|(?<!ground )truth|\bbluff|\bcheat|"
        r"\bfib(?:bing|s)?\b",
        r"mislead|perjur|(?<!hair )\bhid(?:e|es|ing)\b|hidden (?:feeling|emotion|motive|agenda)|"
        r"conceal|"
        r"\bsecret|polygraph|\blied\b",
        r"\bstraight with (?:me|us)",
        rf"\bg(?:ave|ive|ives|iving) {_WHO} away\b|\bporkies\b",
        r"cover(?:ing)? (?:something |it )?up|\bma(?:de?|ke|king) (?:\w+ ){1,3}up\b",
    ),
    "guilt": (
        r"guilt|innocen|\bcrim(?:e|es|inal)\b|\bst(?:eal|ole|olen)\b|murder|\bthief|\bsuspicious",
        r"\bin court\b|\btrial\b|\bas (?:evidence|proof)\b",
        r"\brobber|\bburglar|\bfraud|\bbrib|\btheft",
        r"confess|convict|\bkill(?:ed|er)?\b|\barrest|\bjail|culprit|\bcommit(?:ted)? ",
        rf"(?<!times )(?<!often )\bdid {_WHO} do it\b(?! (?:just |only |more than )?(?:once|twice|"
        r"one time|multiple|several|many|again and again))",
    ),
    "danger": (
        r"\bdanger|terroris|violen(?!t (?:is|was) the)|\bthreat|\bharm|\bweapon|aggressive|"
        r"\battack(?! time)|\barmed\b",
        rf"\bsafe(?:ly)? (?:with|around|near)|\b(?:with|around|near) {_WHO} safely|"
        rf"\b(?:i|we|{_WHO}) safe\b",
    ),
    "hiring": (
        r"\bhir(?:e|ed|ing)\b|(?<!muscles )\bemploy(?:ed|able|ment|ing)?\b|\bjob (?:for|"
        r"interview|offer)|"
        r"(?<!good )(?<!nice )\b(?:the|this|a) job\b",
        rf"\bpromot|\bfire {_WHO}|salary|\bloan|\binsur|\bcredit (?:to|score|risk)|\bqualified",
        r"\b(?:good|bad|suitable|right|best|great|better) (?:\w+ )?(?:fit\b(?! than)|candidate|"
        r"employee|worker"
        r"|leader|manager|father|mother|parent|teacher|student|boss|team ?mate|colleague|doctor"
        r"|nurse|person|hire|salesman)\b",
    ),
    "health": (
        r"\bdepress(?:ed|ion|ive)\b|\banxiety|autis|\badhd|schizo|bipolar|\bmental(?!is)|disorder|disease",
        r"diagnos|\bill(?:ness)?\b|\bsick|\bhealth|\bpain\b|\bdrunk|\bdrug|\balcohol|\bhigh on\b",
        r"\b(?:a|had) stroke\b|parkinson|pregnan|palsy|botox|symptom|dement|alzheim|suicid|\bptsd",
        r"trauma|therap|\bmedic(?:al|ine|ation)|\bdisab|blood pressure|heart ?rate|\bpulse\b",
        r"\bparaly|\bpills?\b|\bsurg(?:ery|ical)|\bnumb\b|\bsuffering\b|\bhung ?over|"
        r"\bthe spectrum\b|\bunwell\b|\bdying\b(?! to)|\bcancer|neurolog|\bwell today\b|\bfever\b",
    ),
    "age": (
        r"\bage\b|\baged\b|how old|\byears old|\b(?:young|old|older|younger|elderly)\b|teenager",
        rf"\b(?:is|are|was|were) {_WHO} (?:more than|less than|over|under|above|below|at least|"
        r"around|about|almost|nearly) (?:the age of )?\d{1,2}s?\s*\W*$",
        rf"\badult|\bborn\b|birthday|\b(?:is|are) {_WHO} (?:a minor|underage)",
    ),
    "sex": (
        r"gender|\bsex\b|sexual|\bgay\b|lesbian|\btrans(?:gender)?\b|\b(?:fe)?male\b",
        r"\b(?:man|woman|boy|girl|guy) or\b",
        r"\bis (?:this|that|it|the person|he|she) an? (?:man|woman|boy|girl|lady)\b",
    ),
    "origin": (
        r"\brac(?:e|ial)\b|ethnic|nationalit|\bcountry\b|immigra|citizen|\baccent\b",
        rf"\bwhere {_BE} (?:{_WHO}|this|that) (?:come |originally )?from",
        r"\b(?:asian|african|european|american|latino|hispanic|chinese|indian|arab|jewish)\b",
        rf"\b(?:black|white) {_PERSON}",
    ),
    "identity": (
        r"\bwho(?:m)? (?:is|are|was|were) (?:this|that|he|she|they|it|the)\b|whose face|identity",
        rf"\b(?:identify|identified|recogni[sz]ed?) (?:{_WHO}|this face|whose|who)",
        rf"\b(?:his|her|their|{_PERSON}) name\b|\bname (?:of (?:this|that|the) {_PERSON})",
        r"\bcelebrit|famous|\bsame (?:person|woman|man|girl|guy|lady|boy|face)\b|"
        r"(?<!class does it )(?<!category does it )(?<!frames )(?<!regions )(?<!parts )"
        r"(?<!muscles )\bbelongs? to\b",
        r"\bremind (?:you|me) of|\bseen? .*\bbefore\b\s*\??$",
        rf"\b(?:does|do|did) {_WHO} look like (?:my|somebody|someone|(?:an? )?{_ROLES})\b",
        rf"\b{_BE} (?:{_WHO}|this|that) an? (?:actor|actress|politician|criminal|\w*star)\b",
        rf"(?<!how )\bdo (?:i|you|we) know (?:{_WHO})|"
        r"^whose \w+(?: \w+)? (?:is|are|was|were) (?:it|this|that|these|those)\b",
        rf"\bwhat {_BE} (?:he|she|they) called\b",
    ),
    "sincerity": (
        r"\bsincer|\binsincer|\bgenuin|\bfak(?:e|ed|ing)\b|\bpretend|\bposed\b|\bjust acting\b",
        r"\breal (?:feeling|emotion|smile|happiness|joy|fear|anger|sadness|surprise|one)",
        r"(?:smile|emotion|feeling|expression|happiness|joy|fear|anger|sadness|surprise|reaction) "
        r"(?:(?:is|was) )?(?:for )?real\b|\bis (?:it|this|that) (?:for )?real\b",
        r"\breally (?:feel|mean|happy|sad|angry|afraid|scared|surprised|disgusted)|\btruly|deep "
        r"down",
        r"(?:smile|emotion|feeling|expression|happiness|joy|fear|anger|sadness|surprise|reaction) "
        r"(?:is |was )?acted\b|"
        r"authentic|\bforced\b|duchenne|heartfelt|\bmean it\b|\bstaged\b|spontaneous|on purpose",
        r"^(?!.*\b(?:probability|percent\w*|figure|number|odds|label)\b).*\bput(?:ting)? (?:it )?"
        r"on\b",
        r"deliberate|\bpolite smile|\binvoluntar",
    ),
    "thoughts": (
        rf"\b{_WHO} (?:{_BE} )?(?:really )?(?:think|thinking|thinks|thought|wants?|knows?|knew|"
        r"plan(?:s|ning)?|remembers?|wish|dream|hopes?|hoping|understands?|agrees?)\b",
        r"\bgoing through (?:his|her|their)\b|\bin (?:his|her|their) head\b|"
        r"\bintention|\bintend|\bmotive|\bmotivat|on (?:his|her|their) mind|\bmind read",
        rf"\b{_BE} {_WHO} (?:interested|acting)\b",
        r"\b(?:his|her|their) (?:mind|thoughts?)\b|\bplotting|up to something|distracted|\bbored\b",
        r"\bpay(?:ing)? attention\b|concentrat|\bfocused on\b|\bread minds?\b",
    ),
    "character": (
        r"personalit|\bcharacter\b|introvert|extrovert|\barrogan|\bkind person|\btrustworthy",
        rf"\b(?:trust|rely on|believe) (?:in )?{_WHO}|{_WHO} be trusted|\bmoral|psychopath",
        rf"\b{_BE} (?:{_WHO} )?(?:\w+ )?(?:always|usually|generally|normally|easily|rarely)\b",
        rf"\bhow often (?:does|do|is|are) {_WHO} (?!blink|wink|move|raise|close|smile)|"
        rf"{_WHO}\b.*\bin general\b|\bby nature\b|\bin real life\b|\b(?:get|gets|feel|"
        rf"feels) \w+ (?:often|"
        r"a lot)\b",
        r"\b(?:anger|mood|temper) (?:problem|issue)|\bwhat (?:kind|sort|type) of (?:person|man|"
        r"woman|guy)",
        rf"\b(?:reliable|dependable|decent|stable) {_PERSON}\b|"
        r"narcissis|temperament|\bloyal|\bfriendly\b|\bshy\b|\bevil\b|\bcrazy\b|\bweird "
        r"(?:person|man"
        r"|guy|woman)|manipulat|\b(?:good|bad|nice|confident) (?:man|woman|guy|human)\b",
    ),
    "intelligence": (r"intelligen|\biq\b|\bsmart|\bstupid|\bclever|\bdumb\b|\bgenius|\beducated|"
        r"^can (?:he|she|they) (?:read|write|count|spell|swim|drive|cook|dance|sing)\b",),
    "attraction": (
        r"\b(?:would|will|do|should|might) (?:i|you|we|people|anybody|anyone) (?:like|love|enjoy|"
        r"fancy|hate)\b",
        r"attract|beautiful|\bugly\b|\bhandsome|\bcute\b|\bsexy|good ?looking|\bhot\b",
        rf"\b(?:nice|lovely|pretty|sweet|perfect) {_FEATURE}|\b(?:pretti|nic|sexi|ugli)est\b",
        rf"(?<!not )\b(?:rate|score|judge) (?:his|her|their|the|this) {_FEATURE}|"
        r"\bdate (?:him|her)\b",
        rf"\bprettier\b|\b{_BE} {_WHO} pretty\s*(?:\?|$)|\bpretty (?:face|girl|woman|person)",
    ),
    "relationship": (
        r"\blov(?:e|es|ed|ing)\b|\blikes? (?:me|him|her|us|you)\b|married|divorc|\bflirt",
        r"\b(?:has|have) an? (?:(?:girl|boy) ?friend|wife|husband)|\bdating|\brelationship|"
        rf"friends with|\bcrush\b|\b(?:do|does|did) {_WHO} (?:like|enjoy|dislike)\b",
        rf"\bhate[sd]?\b|\b{_BE} {_WHO} single\b",
    ),
    "belief": (
        r"religio|\bpoliti|\bvot(?:e|es|ed|er|ing)\b|\bgod\b|democrat|republican|\bmuslim",
        rf"christian|\bliberal|conservative|{_WHO} believ|\b{_WHO} (?:rich|poor)\b|\bwealth|"
        rf"\bincome",
    ),
    "cause": (
        r"^(?:and |but |so )?(?:(?:at|with|about|because of) (?:me|us|him|her|them)|"
        r"(?:at|with|about|of|by) (?:what|whom?))\s*\??$",
        r"\b(?:did|have|do) i (?:do|say|make|upset|hurt|offend|bother|cause)\b",
        rf"\bbecause {_WHO} (?:was|is|were|are|had|has|got|knew|knows|felt|saw|heard)\b|"
        r"\b(?:was|is) it (?:the |a |an |that |my |his |her )?(?:question|noise|sound|news|picture|"
        r"music|smell|joke|remark|comment|answer|word|person|camera)s? that\b",
        rf"\bbecause of (?:me|us|him|her|them|you|(?:my|his|her|their) \w+)\b|"
        rf"\bbecause of (?:the |a |that |some )?(?:noise|sound|question|news|picture|music|smell|"
        rf"joke|people|person|camera)s?\b(?! floor| level)|"
        rf"\bma(?:de|kes?|king) {_WHO} (?!move)|\bcaused? (?:by|this|the|that|it)\b|"
        rf"\btrigger(?!ed (?:au|action unit|the label))",
        rf"\bwhat {_BE} {_WHO} (?:see|seeing|react|reacting|watch|watching|looking at|look at)",
        rf"(?:smil|laugh|frown|star|scowl)\w* at (?:me|us|him|her|you|them|{_WHO})\b|"
        rf"\bwh(?:at|o)\b(?: or wh\w+)?(?: has| had| ever)? (?:upset|annoy\w*|set|scared|"
        rf"frighten\w*|anger\w*|excit\w*|bother\w*|amus\w*|pleased|got into|came over) {_WHO}\b|"
        r"\b(?:meant|intended|aimed) (?:for|at) (?:me|us|him|her|you|them|some)|"
        r"\breact(?:ing|ed|s)? to|stimulus|\b(?:bad|good) news|\bprovoke",
        r"(?:happy|sad|angry|scared|afraid|surprised|upset|mad|glad|disgusted) (?:about|of|by)"
        r"\b|(?:happy|angry|upset|mad) at (?:me|us|you|him|her|them|some)",
    ),
    "future": (
        rf"\bwill (?:{_WHO}|it|this|that|the|there)\b|\b(?:is|are) {_WHO} going to\b|"
        rf"\bwill (?:my|his|her|their)\b|{_WHO} (?:will|gonna|is going to|are going to)\b",
        rf"\bgoing to (?:do|happen|say|be|leave|cry|smile|win|act)|\bwould {_WHO} (?:ever "
        rf")?(?:do|act"
        r"|commit|leave|quit|buy|say)\b|tomorrow|\bfuture|\bpredict (?:what|whether|if|the "
        r"future)|\bnext (?:time|week|year|"
        r"month|day)"
        r"|\bforecast|\babout to\b",
    ),
    "advice": (
        r"(?<!trust )\bshould (?:i|we)\b(?! (?:look|trust|rely|believe|pause|ask|watch|stop|see|"
        r"note|mark|code|score|log|"
        r"write))|\badvice|\brecommend",
        r"\bwhat (?:should|shall) (?:i|we) (?:do|say|tell|answer)\b",
        r"\bhow (?:do|can|should) i (?:help|approach|comfort|talk to)",
    ),
    "feeling": (
        r"\bjealous|\benv(?:y|ious)\b|\bproud|\bpride\b|(?<!i am )\bconfus|embarrass|asham|"
        r"\bshame\b|"
        r"\bstress",
        r"\btired\b|exhaust|\bsleepy|nervous|worr(?:y|ied)|\banxious|\bexcit|\blonely|frustrat",
        r"disappoint|relie[fv]ed?\b|\bcurious|nostalg|\bhopeful|grateful|insecure|uncomfortable",
        r"\bcomfortable|\bempath|\bsarcas|\birony|\bironic",
    ),
    "appearance": (
        rf"\bhow (?:big|long|wide|thick|large|small|round|narrow) (?:is|"
        rf"are) (?:{_WHOSE} )(?:\w+ )?{_BODY}"
        r"\s*\??$",
        rf"^(?:is|are) (?:{_WHOSE} )(?:\w+ )?{_BODY} (?:\w+ )?(?:big|long|thick|thin|round|pale|"
        rf"dark|small|"
        r"bushy|blond|curly|dry|white|blue|brown|green|red|pointed|strong|short|large|"
        r"fat)\b(?! than)",
        r"\bbushy|\bpluck|lipstick|mascara|\bwrinkles\b(?! (?:appear|form|show))|\bteeth\b|"
        r"double chin|\bchin (?:is |looks? )?double\b",
        r"\bbigger (?:than|eye|nose|mouth)\b(?=.*\b(?:other|left|right)\b)(?!.*\bmov)",
        r"glasses|\bbeard|mou?stache|\bhair(?! (?:cover|hid))|\bwear(?:ing|s)?\b(?! off)|"
        r"cloth(?:es|ing)|\bshirt",
        r"colou?r\b|\btattoo|\bmakeup|\bskin (?:tone|type)|\bhat\b|\bbald|\bscar\b|freckle|"
        r"\btall\b",
        r"\bweigh|\bfat\b|\btongue|\bears?\b|jewel|\bmask\b(?! the blink)",
    ),
    "speech": (
        rf"\b(?:what|anything|something) (?:{_BE} )?{_WHO} (?:say|saying|said|says|tell|talk|"
        rf"talking)",
        rf"\b{_BE} {_WHO} (?:say|saying|said|talk|talking|speak|speaking|sing|singing|shout|"
        rf"scream)",
        r"\bvoice|\baudio|\bsound\b(?! like)|\bhear\b|\bwhisper(?! of a)|\bshout|\bscream|"
        r"\blip ?read",
        r"\b(?:lips?|mouth) (?:say|says|said|form|forms|formed|spell|spells|utter|uttered)\b|"
        rf"\bwhat language(?! model)|\b{_WHO} (?:speaks?|talks?)\b|\bspeech\b",
    ),
    "gaze": (
        r"\bgaz(?:e|ing)|\blook(?:ing|s|ed)? (?:away|up|down|left|right|to the|into|toward|"
        r"sideways)",
        rf"\b{_WHO} (?:{_BE} )?look(?:ing|s|ed)? (?:at|where)|\bwhere {_BE} {_WHO} look",
        r"eye contact|\bglanc|\bpupil|\biris\b|\beyes? (?:dart|roll|turn|look)",
    ),
    "surroundings": (
        r"\bcamera (?:mov|is mov|was mov|shak)|\b(?:is|was|did) the camera\b(?! run)|\b(?:what|"
        r"which) camera\b|"
        r"\b(?:hold\w*|behind|carr\w+) the camera|\bwhere (?:did|do) (?:they|you|we|he|she) film|"
        r"\bbackground\b(?! noise)|\broom\b|indoor|\bweather|\bwhere (?:was|is) (?:this|the "
        r"(?:clip|video)) "
        r"(?:filmed|recorded|shot|taken)|\bwho (?:filmed|recorded|took|made (?!you))|other people|"
        r"anyone else"
        r"|how many (?:people|persons|faces)",
    ),
}  # fmt: skip
_PATTERNS = {topic: re.compile("|".join(listed)) for topic, listed in _TOPICS.items()}


def declined_topic(text: str) -> str:
    """The topic of a question that the motion of a face cannot answer; empty if there is none.

    Args:
        text: As ``spelling.normal`` writes it.
    """
    return next((topic for topic, pattern in _PATTERNS.items() if pattern.search(text)), "")
