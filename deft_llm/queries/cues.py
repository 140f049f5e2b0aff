"""Everyday words that tell what kind of question is asked, and the manners around it."""

from __future__ import annotations

import re

#: Cue -> phrases; compared by stems as in ``vocabulary``, the longest phrase first.
CUES: dict[str, str] = {
    "move": "move|motion|movement|happen|change|stir|shift|twitch|activity|go on|budge|displace|"
    "busy|displacement|doing|behave|react|jerk|tremble|contract|going on|act|acting|acted|wiggle|"
    "wriggle|mover|wobble|quiver|shudder|flinch|jiggle|budging",
    "still": "silent|motionless|at rest|unchanged|frozen|freeze|steady|immobile|unmoved|stay put|"
    "stayed put|stay still|stayed still|remain still|keep still|kept still|hold still|held still|"
    "is still|stand still|stood still|perfectly still|completely still|stay same|stationary|"
    "stay where it was|stay as it was|stay calm|keep quiet|kept quiet|quiet",
    "how_much": "how far|intensities|amount of|distance|how much|how strong|how strongly|how big|"
    "how large|how many pixel|magnitude|amplitude|how intense|intensity|strength|how great|"
    "how wide|how high|how low|how noticeable|how many px|how pronounced|how subtle|how small|"
    "how marked|in pixel|size of|by how much|how weak|how visible|extent|pixels|how deep|how broad|"
    "how clear|how tiny|how faint|how obvious|how distinct|how heavily|how little|how hard|"
    "what distance|what amount|how active|how slight|how restless|how steady|put number on|"
    "put figure on|in numbers",
    "strong": "strong|strongly|large|big|marked|a lot|lot|intense|pronounced|obvious|huge|"
    "considerable|noticeable|far|much|considerably|heavily|massive|significantly|significant|"
    "greatly|easy to see|easily visible|clearly visible|hard to miss|naked eye|quite a bit|"
    "great deal|noticeably|visibly",
    "weak": "weak|weakly|small|slight|slightly|subtle|tiny|little|a bit|minor|minimal|barely|faint|"
    "hardly|a little|gently|mild|minute|hard to see|difficult to see|hardly visible|easily missed|"
    "almost invisible|barely noticeable|barely visible|scarcely|a tad|hardly there",
    "which_way": "which way|what way|direction|where to|which direction|what direction|whither|"
    "heading of|what path|which path",
    "when": "when|what time|timecode|time code|timestamps|which frame|what frame|timestamp|"
    "how far into|which second|"
    "what second|which moment|what moment|what point|which point|time of|time point|moment of|"
    "how soon|where in clip|where in video|at what time|time in clip|frame number|from when|"
    "until when|since when|at which moment|how early|how late",
    "how_long": "how long|duration|how brief|how short|how quick|how quickly|how fast|"
    "how much time|how many second|how many millisecond|how many ms|for how long|"
    "length of movement|length of expression|length of microexpression|last for|how sudden|speed|"
    "runtime|running time|run time|time it took|time it takes|how slow|how rapid|rise time|"
    "fall time|how lasting|time span|time pass",
    "last": "last|lasted|lasting|take|took",
    "brief": "fast|quick|quickly|brief|briefly|short|rapid|rapidly|swift|sudden|suddenly|momentary|"
    "flash|fleeting|shortlived",
    "long": "slow|slowly|long|gradual|gradually|prolonged|sustained|drawn out|linger|persist|"
    "for while|for ages",
    "micro": "microexpression|micro|a microexpression|macroexpression|macro",
    "first": "first|earliest|before|prior to|lead|ahead of|earlier than|sooner|began first|"
    "come first|initially|start first|begin first|go first|set off",
    "final": "last to move|last thing|last part|last region|moved last|move last|latest|later than|"
    "after|afterwards|came last|come last|lag|go last|went last|start last|started last|last one|"
    "very last|last of all|was last|is last|very end",
    "order": "order|sequence|in what order|simultaneous|simultaneously|same time|at once|"
    "same moment|in turn|one after another|at same time|start together|all together|in one go|"
    "one by one|delay|delayed|time lag|in sync|out of sync|synchronous|synchronised|synchronized",
    "uneven": "asymmetric|asymmetrical|asymmetry|asymmetrically|uneven|unevenly|one sided|lopsided|"
    "onesided|unilateral|unilaterally|crooked|difference between left and right|skewed|"
    "difference between side|difference between two side|one side only|only one side|imbalance|"
    "unequal|side different|side differ|just one side|on one side|one side|lop sided|laterality|"
    "lateralised|lateralized",
    "even": "symmetric|symmetrical|symmetry|symmetrically|even|evenly|balanced|bilateral|"
    "bilaterally|equal|equally|same on both side|mirror|same amount|alike on both side|"
    "both side same|same on left and right|identical|in same way",
    "which_side": "which side|what side|left or right|right or left|which half|which one of two|"
    "which hand side|on which side|tell side|side of|dominant side|stronger side|left versus right|"
    "left vs right|left against right|right versus left|right vs left",
    "more": "more|dominate|stronger|bigger|larger|further|farther|harder|greater|more strongly",
    "less_than": "weaker|smaller|less|fewer",
    "most": "most|strongest|biggest|largest|furthest|farthest|greatest|main|mainly|mostly|"
    "primarily|most strongly|dominant|top|clearest|most obvious|hardest|maximal|liveliest|busiest|"
    "most active",
    "least": "least|weakest|smallest|least of all",
    "than": "than|compared to|compared with|versus|vs|rather than|relative to|in comparison",
    "au_word": "action unit|au|aus|muscle|coding|code|unit|actionunit|facial muscle|facscode|"
    "facscode coding",
    "feel": "emotion|face say|face tell|feel|feeling|mood|sentiment|affect|vibe|class|classify|"
    "category|facial expression|emotional|emotional state|felt|reading|verdict|look like|betray|"
    "interpret|coarse|fine grained|give away|kind of expression|kind of face|sort of face|read as|"
    "label|face make|face making|interpret",
    "expression": "expression|express",
    "likely": "likely|probability|probable|chance|odds|percent|percentage|likelihood|how probable|"
    "likelier|other emotion|other feeling|which other|probabilities|possible|distribution|"
    "plausible|runner up|second guess|softmax|class score|score of class|all class|alternative|"
    "what else could|anything else it could|other possibility",
    "second": "second most likely|second guess|second best|runner up|second choice|second place|"
    "next best|next most likely|second likely|second strongest|second most|plan b|comes second|"
    "came second|is second|next guess|second bet|next bet|next choice",
    "sure": "sure|certain|confident|confidence|reliable|reliability|trust|certainty|accurate|"
    "accuracy|dependable|how good guess|positive about|unsure|uncertain|hesitant|convinced|correct|"
    "mistaken|could you be wrong|wrong|doubt about|any doubt|doubtful|just guess|only guess|"
    "just guessing|safe bet|safe guess|rely on|count on it|count on that|bet on|trustworthy|"
    "really believe|really think|sure thing|stake money|put money on",
    "why": "why|reason|evidence|do you base|you base|explain|explanation|how do you know|"
    "how do you get|how come|justify|justification|basis|based on|because|what makes you|"
    "what made you|what made it|how can you tell|how did you|proof|rationale|speak for|speaks for|"
    "reasoning|argue|argument|support|grounds|what tells you|lead you to|walk me through|"
    "how you get there|how do you conclude|rest on|indicate|suggest|prove|how can you say|lead to|"
    "conclusion rest|which movement lead|on which movement|come to|led you|brought you|convince|"
    "how so|says who|come up with|arrive at|point to|how do you see that|what tells|what says|"
    "what shows|what gives",
    "against": "why not|speak against|evidence against|argue against|what is against|rule out|"
    "instead of|why is it not|contradict|counterargument|counterevidence|why no|not rather|"
    "why do you not|exclude|reject|dismiss|discard|why can it not be|why could it not be|against|"
    "missing for|would have to be there",
    "count": "how many|number of|how often|how many times",
    "region_word": "region|part|area|place|spot|part of face|zone|bit of face|location|where|"
    "feature",
    "frame_word": "frame|image|picture",
    "movement_word": "expression|movement|microexpression|motion|event|movements",
    "clip_word": "clip|video|recording|footage|film|movie",
    "whole": "face|anything|something|everything|whole face|entire face|all|overall|any part|"
    "anywhere|nothing|any region|any movement|any motion|facial",
    "head": "head|head motion|head movement|nod|head turn|head tilt|head shake|neck|tilt|skull",
    "blink": "blink|eyeblink|close eye|eye close|closed eye|shut eye|eye shut|eyelid close|"
    "lid close|flutter|blinking|eye were closed",
    "wink": "wink",
    "quality": "quality|what frame rate|which frame rate|image per second|frame second|"
    "not be measured|not be seen|be measured|how good|good enough|resolution|noise|noisy|landmark|"
    "dark|bright|too dark|too bright|blur|blurry|blurred|sharp|usable|frame rate|fps|framerate|"
    "frame per second|light|lighting|illumination|not measured|could not be measured|"
    "could not be seen|can not be seen|problem|issue|occluded|covered|hidden|artifact|limitation|"
    "caveat|warning|remark|recording ok|unreliable|grainy|see face|compression|camera|flicker|"
    "unmeasured|brightness|in way|shaky|face visible|face in view|see whole face|see entire face|"
    "see full face",
    "rate": "frame rate|fps|framerate|frame per second|what frame rate|which frame rate|"
    "frame second|image per second",
    "noise": "noise|noisy|noise floor|grainy",
    "light": "light|lighting|illumination|dark|bright|flicker|too dark|too bright|brightness",
    "summary": "summarize|summarise|summary|sum up|sum it up|sum this up|tldr|overview|in short|"
    "rundown|upshot|in one sentence|recap|in one line|in single line|whole story|describe clip|"
    "describe video|describe|tell me about|tell me everything|everything you know|nutshell|"
    "brief me|all you know|what do you see|bottom line|gist|describe it|in brief|"
    "in single sentence|in few words|short version|short report|short description|results|find out|"
    "make of it|wrap it up|description|finding|findings|what have you found|analysis|analyse|"
    "analyze|main point|tell me lot|everything you found|all you found|report",
    "json": "json|machine readable|structured|structured answer|structured record|triple|"
    "fill in record",
    "combined": "combine|combined|then emotion|both label|coarse label together|fine and coarse",
    "return": "return|come back|go back|move back|back to rest|went back|came back|reverse|cut off|"
    "cut short|truncate|after apex|from apex to offset|falling phase|fall phase|after peak|"
    "relax again|recover|apex is over|revert|undo|between apex and offset|snap back|back again|"
    "offset phase|from apex on|after that|return movement|move back once|goes back|way back|"
    "return leg",
    "meaning": "mean|meaning|define|definition|stand for|explain term|what do you mean by|"
    "explain what",
    "ask": "what can i ask|can i ask|could i ask|what to ask|what can you|what can i|"
    "what should i ask|help|how does this work|how do i use|what question|which question|"
    "example question|what else can|command|menu|instructions|capabilities|example of question|"
    "some question|some example|topics|what could i ask|manual|what are you able|what do you know|"
    "what do you do|what else can you|what questions",
    # Words of other cues that mean nothing in these phrases.
    "idle": "make up|write down|pick up|end up|close up|look up|give up|set up|follow up|speed up|"
    "slow down|at last|for moment|of course|in order to|first of all|one more|in end|right away|"
    "take part|at least|at most|light up|lit up|have to do|not even|even a little|kind of|sort of|"
    "a part in|took part|taken part|put down|come up|hold up|note down|scale up|show up|showed up|"
    "shown up|pop up|crop up|when it come to",
    "other_turn": "other one|other side|opposite side|counterpart|twin",
}
_GREETINGS = {
    "hello": r"hi|hello|hey|hiya|howdy|greetings|good (?:morning|afternoon|evening|day)|yo|sup|"
    r"what is up|how are you(?: doing)?|nice to meet you",
    "thanks": r"thanks?(?: (?:you|a lot|so much|very much|for \w+ \w+))*|thx|ty|cheers|"
    r"ok(?:ay)?|kk?|great|cool|"
    r"nice|"
    r"perfect|awesome|wow|good job|well done|got it|i see|alright|understood|interesting|lol|haha|"
    r"yes|no|nothing(?: else)?|yeah|yep|nope|sure|fine|good|very good|amazing|super|"
    r"never ?mind|nvm|forget (?:it|that)|"
    r"that (?:helps|helped|is (?:helpful|useful)|was (?:helpful|useful|it|all))",
    "goodbye": r"bye(?: ?bye)?|good ?bye|(?:talk|speak)(?: to you)? (?:tomorrow|soon|later)|"
    r"(?:un)?till? next time|same time (?:tomorrow|next week)|ciao|take care|see (?:you|"
    r"ya)(?: later| tomorrow| soon| around)?|"
    r"farewell|cya|good night|quit|exit|"
    r"that is all",
}
_GREETING = {
    name: re.compile(
        rf"^(?:\s*(?:{words})(?: there| all| you| everyone| man| bot| again| then)*\b[\s,.!?]*)+$"
    )
    for name, words in _GREETINGS.items()
}
#: Openings that say nothing about the question; taken off one after the other.
_MANNERS = re.compile(
    r"^\s*(?:(?:hi|hello|hey|hiya|howdy|yo|sup|greetings|dear \w+|"
    r"good (?:morning|afternoon|evening))(?: there)?\b[\s,.!:;-]*|"
    r"(?:please|kindly|ok|okay|so|well|um+|uh+|hm+|now|thanks|thank you|cheers|great|cool|"
    r"alright|sorry|excuse me|quick question|one (?:more )?question|question|just|honestly|"
    r"to be honest|actually|basically|listen|look|btw|by the way|then|yeah|pls|seriously|"
    r"bruh|bro|dude|omg|lol|lmao|haha|just checking|"
    r"out of curiosity|(?:in|to) your (?:opinion|view|mind)|"
    r"as far as you (?:can )?(?:see|tell|know))\b[\s,.!:;-]+|(?:yes|no|right|next|one more|"
    r"once more|be honest|in short|one thing)\b\s*[,.!:;-]+\s*|"
    r"(?:(?:only|just|answer(?: (?:in|with|by))?(?: only| just)?) )?(?:yes or no|(?:in )?one word|"
    r"a single word)\b\s*[,.:;-]+\s*|"
    r"(?:can|could|would|will|may|might) (?:you|i|we|u) (?:please |just |kindly |maybe |perhaps )?"
    r"(?:tell|show|say|give|let|explain to|describe to|check|find out|know|ask|have|get|"
    r"list|name|"
    r"point out)(?: (?:me|us))?(?: please)?(?: know)?\b[\s,:]*|"
    r"(?:i (?:would|d)? ?(?:like|want|need|love|wish)|i want|id like|i am (?:curious|trying|"
    r"interested)"
    r"|i wonder|i was (?:just |only )?wondering|wondering|i am wondering)(?: to (?:know|see|"
    r"find out|hear|ask|"
    r"learn|"
    r"understand))?(?: about)?\b[\s,:]*|"
    r"(?:to )?(?:tell|show|say|give|let)(?: (?:me|us))(?: know)?\b[\s,:]*|"
    r"(?:do|did) you (?:happen to |perhaps |maybe )?(?:know|think|reckon|believe|suppose)(?: "
    r"that)?\b[\s,:]*|"
    r"(?:can|could) (?:you|we|i|one) (?:make out|spot|pick out|discern)\b"
    r"(?! (?:any |an? )?(?:microexp|lie|lying|decep))[\s,:]*|"
    r"poor (?:thing|soul|lad|girl|boy|man|woman|guy)\b[\s,:]*|"
    r"would you (?:say|call it|think)(?: that)?\b[\s,:]*|any idea\b[\s,:]*|check\b[\s,:]+(?=if|"
    r"whether)|"
    r"i (?:think|believe|guess|bet|assume|suppose|suspect)(?: that)?\b[\s,:]*|"
    r"is it (?:true|correct|right|possible) that\b|is it the case that\b|am i right that\b|"
    r"in (?:this|the) (?:clip|video)\b[\s,:]*|(?:looking|look) at (?:the|this) (?:clip|video|"
    r"face)\b[\s,:]*)"
)
# "..., did it?", "..., isn't she?": as ``spelling.normal`` spells it out.
_TAG = (
    r"(?:is|are|was|were|did|do|does|has|have|can|could|would)(?: not)? "
    r"(?:it|they|he|she|there|that|you|(?:the|this|that|my) \w+|somebody)(?: not)?"
)
_ENDINGS = re.compile(
    rf"(?:\s*[,.;:-]+ (?:right|correct|yes|no|true|agreed?|am i right|or|"
    rf"is (?:that|it) (?:so|right|true|correct)|{_TAG}|"
    r"(?:god )?bless (?:her|him|them|you)|poor (?:thing|soul|lad|girl|boy|man|woman|guy)|"
    r"love|dear|darling|honey|sweetheart|young man|my friend)|[\s,]*\b(?:or not|or no|or nah|"
    rf"please|thanks|thank you|thx|pls|mate|buddy|"
    r"or am i (?:wrong|mistaken|seeing things|imagining (?:it|things))|or is it (?:just |only )?me|"
    r"is it not|is not it|did it not|did not it|did not (?:he|she|they)|is not (?:he|she)|"
    r"are not they|does not it|does not (?:he|she)|yes or no|you know|do you know|do you think|"
    r"would you say|i wonder|at all|by any chance|in (?:this|the) (?:clip|video)|here|huh|eh|"
    r"or what|in this one|maybe|(?:do )?you (?:think|agree)|agree|for me|lol|haha|lmao|tho|though|"
    r"tbh|rn|right now|or (?:something|smth|anything)))"
    r"\s*([?!.]*)$"
)

_TABLE = re.compile(r"^(?:an? |the )?(?:table|chart|list|overview) (?:of|with)\b")

_SENTENCE = re.compile(r"(?<=[.!?;:])\s+")
_ASKS = re.compile(
    r"^(?:what|which|when|where|who|whose|whom|why|how|is|are|was|were|did|do|does|has|have|had|"
    r"can|could|would|will|should|any|list|name|describe|explain|rate|count|compare|summari[sz]e)\b"
)
# What is told of somebody before the question: "he hates me, did he frown?".
_TOLD = re.compile(
    r"^((?:i|we|he|she|they|it|there|my|our|his|her|somebody|someone|everybody|everyone|nobody)\b"
    r"[^,?]*(?:,[^,?]*)?), ((?:what|which|when|where|who|why|how|did|does|is|was|are|were|has|have)"
    r"(?: \S+){3,})$"
)


# "At frame 30, was the mouth up?" asks the same as "was the mouth up at frame 30?".
_LED_BY_TIME = re.compile(
    r"^((?:at|by|between|from|in|during|after|before|on|until|within|around)\b"
    r"(?!.*\b(?:what|which|how)\b.*\b(?:is|was|are|were|did|does|do|has|have)\b)"
    r"(?: [\w.%]+){1,8}),? ((?:is|was|are|were|did|does|do|has|have)\b [^?]*)(\?*)$"
)


def greeting(text: str) -> str:
    """Which greeting a text is: "hello", "thanks", "goodbye"; empty if it asks something."""
    if found := next((name for name, pattern in _GREETING.items() if pattern.match(text)), ""):
        return found
    # "Thank you very much, that's all" is two; the last one counts.
    _, comma, last = text.rpartition(",")
    return greeting(last) if comma and greeting(text[: -len(last) - 1]) else ""


def without_manners(text: str) -> str:
    """A normal text without greetings, politeness and "can you tell me" at its ends."""
    for _ in range(6):
        shorter = _MANNERS.sub("", text, count=1)
        shorter = _ENDINGS.sub(r"\1", shorter, count=1)
        if shorter == text or not re.search(r"[a-z0-9]", shorter):
            break
        text = shorter
    return _LED_BY_TIME.sub(r"\2 \1\3", _TABLE.sub("list", text.strip()))


def sentence_that_asks(text: str) -> str:
    """The one sentence of a normal text that asks, if what goes before or after it only tells.

    "I looked away, how long did it last?", "is she sad? I worry about her": what somebody tells of
    himself is no question about the clip. Empty if no sentence or more than one asks.
    """
    parts = [part.strip() for part in _SENTENCE.split(text) if re.search(r"[a-z0-9]", part)]
    told = _TOLD.match(text)
    if len(parts) == 1 and told:
        parts = [told[1], told[2]]
    asking = [part for part in parts if part.endswith("?") or _ASKS.match(without_manners(part))]
    return asking[0] if len(parts) > 1 and len(asking) == 1 else ""
