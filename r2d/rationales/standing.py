"""How a text means a statement of an answer: as its own, or as somebody else's, under a condition, or denied."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from r2d.rationales.stated_label import AFFIRMATIVE, REPLIES, StatedLabel

FEWEST_WORDS = 4  # of a sentence that is a reason, and no title
LONGEST_SENTENCE = 2_000  # characters in which the beginning or the end of a sentence is looked for

Standing = Literal[
    "asserted", "circumstance", "elsewhere", "conditional", "reported", "denied", "crossed", "unknown", "several",
    "none",
]  # fmt: skip
"""`circumstance`: asserted `in`, `with` or `without` something, which may be the case at hand or another one;
`elsewhere`: for a case that is not the one at hand (`in a child`); `crossed`: with a cross beside it; `unknown`: behind
words that are in no list (`it is a myth that`)."""


_SENTENCE = re.compile(r"[.!?。！？\n](?<![EeIi]\.[GgEe]\.)(?:(?<!\n)[\"'”’)\]*_]{0,4}\s+|(?<=\n))")
"""A set goes first: it is found fastest. Behind `e.g.` no sentence ends."""
_CONTRAST = re.compile(
    r"[;—]|\b(?:but|yet|however|nevertheless|instead|today|now|currently|here|in this case|as it is|so|therefore|thus"
    r"|hence)\b",
    re.I,
)
_NEW_CLAUSE = re.compile(r"[;—]|\b(?:but|yet|however|nevertheless|so|therefore|thus|hence)\b|,\s*which\b", re.I)
IF = re.compile(
    r"(?<!\beven\s)(?<!\bas\s)(?<!\bsee\s)\bif\b(?!\s+(?:i|we|you|one)\s+(?:had|have|must|look|consider|think|go|follow"
    r"|use|apply|read)\b)(?!\s+any\b)"
    r"|(?<!shown\s)(?<!prove[nd]\s)\botherwise\b(?!\s*[.;!)]|\s+(?:well|healthy|fit|normal\w*|fine|stable"
    r"|unremarkable|good|ok(?:ay)?|intact|comfortable|active|eat\w*|drink\w*|play\w*|happy|alert|unchanged|mild"
    r"|a?symptom\w*|no|in\sgood)\b)|\bunless\b(?!\s+(?:shown|prove[nd])\s+otherwise)"
    r"|\b(?:suppos(?:e|ing)|assuming|provided|providing|hypothetically|in case|as long as|in the event"
    r"|depend(?:s|ing)\s+(?:up)?on|whenever|whoever|whichever)\b|\A\W*(?:or\s+)?else\b"
    r"|\A\W*(?:add|subtract|minus|take\s+away|let\s+there\s+be|by\s+(?:tomorrow|then|next))\b|\A\W*an?\s+\w+,\s+and\s+\Z"
    r"|\A\W*(?:any(?:one|body)?|every(?:one|body)?|all)\s+(?!of\s+th|(?:of\s+)?this|in\s+all|things|told|points|signs)"
    r"|\b(?:scenario|variant|hypothesis|possibility|situation|case)\s+(?:\d{1,2}|[A-Z]|one|two|three)\b"
    r"|\b(?:were|should|had)\s+(?:she|he|they|it|the|this|there|any|symptoms|pain)\b"
    r"|\b(?:when(?:ever)?|once|until|as\s+soon\s+as)\s+(?:she|he|they|it|this|symptoms|pain|the\s+(?:patient|caller"
    r"|pain|symptoms|fever))\b",
    re.I,
)
THEN_IF = re.compile(
    r"(?!\s*\n\s*(?-i:[A-Z]))[\s*_\"'”’)\],(\[–—-]{0,6}(?:(?:but\s+)?only\s+)?"
    r"(?:(?<!,\s)(?:if|when(?:ever)?|once|until(?!\s+(?:shown|prove[nd])\s+otherwise))|(?<=,\s)if|provided|assuming|(?:were|had|should)\s+(?:she|he|they|it|there|the)|depending"
    r"|in\s+case|as\s+long\s+as"
    r"|(?<=only\s)(?:for|in|with)"
    r"|with\s+[^,.\n]{1,40},\s[^,.\n]{1,40}\swithout|at\s+night|on\s+week(?:ends?|days?)|(?:for|in|among)\s+(?:(?:an?|any\w*|all|every\w*|most|many|some|those)\s+\w+"
    r"|people|patients|children|adults|women|men|babies|infants|toddlers|others|cases))\b"
    r"(?!\s+not\s+(?:sooner|earlier|already|worse)\b)",
    re.I,
)
_WOULD = re.compile(r"\b(?:would|could|might|may)\b", re.I)
QUESTION = re.compile(r"[.…]{0,4}[\s*_\"'”’)\](\[]{0,4}\?")
_PERSON = re.compile(
    r"\b(?:some|many|most|people|one|they|he|she|you|others?|another|someone|somebody|anyone|everyone|nobody|no one|who"
    r"|few|critics|experts|clinicians|doctors|physicians|nurses|(?:the|a|her|his|my|our|their)\s+(?:\w+\s+)?(?:patient|caller|mother|father|parents?|daughter"
    r"|son"
    r"|nurse|doctor|physician|student|husband|wife|family|colleague|model|user|neighbou?r|partner|friend|paramedic"
    r"|assistant|quiz|textbook))\b",
    re.I,
)
_SAYING = (
    r"sa(?:y|ys|id|ying)|argu\w+|claim\w*|think\w*|thought|believ\w+|guess\w*|assum\w+|ask\w*|wonder\w*|insist\w*"
    r"|suspect\w*|hope\w*|fear\w*|told|tell\w*|stat(?:e|es|ed|ing)|pretend\w*|imagin\w+|suppos\w+|felt|feel\w*|wrote"
    r"|writes?|answer(?:s|ed)|repl(?:y|ies|ied)|propos\w+|output\w*|predict(?:s|ed)|vote[sd]?|responded|rate[sd]"
    r"|worr(?:y|ies|ied)|convinced|prefer\w*|want\w*"
)
_INFERRING = (
    r"mean\w*|suggest\w*|indicat\w+|shows?|showed|impl(?:y|ies|ied)|conclud\w+|follows?|confirm\w*|decid\w+|find|found"
    r"|case|true|clear|evident|obvious|likely|unlikely|possible|sure|certain|determin\w+|know|knew|agree\w*|infer\w*"
    r"|doubt\w*|disagree\w*|den(?:y|ies|ied|ying)|reject\w*|dispute\w*|exclud\w+|rules?\s+out|ruled\s+out|idea"
    r"|notion|view|opinion|impression|claim"
)
_GOVERNS = re.compile(
    rf"\b(?:(?P<saying>{_SAYING})|(?P<inferring>{_INFERRING}))(?:\s+(?:me|us|him|her|them|the\s+\w+|now|again"
    rf"|to\s+\w+))?"
    r",?(?:\s+(?:that|whether|how|why))?[\s:,\"'“”‘’*_(]*\Z",
    re.I,
)
_SAYS = re.compile(rf"\b(?:{_SAYING})\b", re.I)
_NEGATION = re.compile(
    r"\b(?:not|never|no\s+one|nobody|nothing|none|no\s+longer|no\s+more|far\s+from|scarcely|barely|refut\w+|refus\w+"
    r"|contradict\w*|disprov\w+|cannot|hardly|neither|nor|doubt\w*|disagree\w*|den(?:y|ies|ied|ying)|reject\w*"
    r"|dispute\w*|exclud\w+|rules?\s+out|ruled\s+out|wrong|mistaken?|incorrect|false|tempt\w*|unlikely|impossible"
    r"|without|fail\w*\s+to\s+(?:show|prove|demonstrate|establish|confirm|find|conclude))\b|n['’]t\b",
    re.I,
)
_FIRST_PERSON = re.compile(r"\b(?:I|we)(?:['’]d|['’]m|['’]ve|['’]ll)?\b", re.I)
_NO_LONGER = re.compile(
    r"\b(?:thought|assumed|guessed|believed|supposed|suspected|said|felt|hoped|feared|wondered?|asked|wanted|preferred"
    r"|was|were|had|have|might|could|may|would\s+have|initially|first|originally|used\s+to)\b",
    re.I,
)
_ONCE = re.compile(
    r"\b(?:(?:first|initial|early|earlier|previous|original|prior|gut)\s+(?:thought|impression|guess|idea|instinct"
    r"|reaction"
    r"|answer|assessment|view|hunch|judg\w+)|at\s+first(?:\s+(?:sight|glance))?|initially|originally|previously"
    r"|formerly|on\s+the\s+surface|naively|perhaps"
    r"|maybe|possibly|supposedly|allegedly|hypothetically|in\s+theory|it\s+is\s+tempting|rather\s+than|instead\s+of"
    r"|is\s+it\s+(?:true|possible|likely)(?:\s+that)?|(?:do|does|did|can|could|would)\s+(?:you|it|we|one)\s+\w+)"
    r"\W+(?:\w+\W+){0,3}\Z"
    r"|\baccording\s+to\s+(?!(?:the|this|these|our)\s+(?:note|text|guide\w*|protocol|information|description|above|case"
    r"|call|rules?|criteria)\b)(?:\w+[\s,]+){1,4}\Z",
    re.I,
)
_NO_DOUBT = re.compile(r"\b(?:no|without|beyond|little)\s+(?:a\s+|any\s+)?doubt\b", re.I)
_GENERIC = re.compile(
    r"(?:\A|[,;:]|(?<=\s)(?=(?-i:For|In|Among)\s))\W*(?:(?:and|but|while|whereas)\s+)?(?:(?:in|for|among"
    r"|of)\s+(?!(?:conclusion|summary|short|sum|fact"
    r"|total|general|light|view|retrospect|hindsight"
    r"|my|our|this|these|those|that|the|her|his|their|such|brief|order|all\s+th\w+|sure|certain|safety|caution|now"
    r"|reference|addition|contrast|it|him|me|us)\b)"
    r"|in\s+the\s+(?:\w+\s+)?(?:event|case\s+of|draft|exam|quiz|example|past)\b"
    r"|in\s+the\s+(?:best|worst|ideal|usual|typical)\s+(?:case|scenario)\b"
    r"|\A\W*(?:usually|normally|typically|ordinarily|as\s+a\s+rule|most\s+often|mostly)\b(?!\s+(?:healthy|well|fit)))",
    re.I,
)
"""A circumstance of no one patient: `for a patient who drools`, `in children`."""
_CIRCUMSTANCE = re.compile(
    r"(?:\A|,)\W*(?:(?:and|but|while|whereas)\s+)?(?:in|for|with|without|absent|barring|among|under|according\s+to)\s+"
    r"(?!(?:conclusion|summary|short|sum|fact|total|general|light|view|retrospect|hindsight|my|our|this|these|the\s+end"
    r"|that\s+in\s+mind|all\s+th\w+|sure|certain)\b)",
    re.I,
)
_IF_LINE = re.compile(
    r"(?:\A|\n)\W*(?:if|when|unless|should|in\s+case|in\s+the\s+event|falls|wenn|si|se|als|indien|cuando|quando|quand)\b[^\n.!?]{0,200}\n\s*\Z",
    re.I,
)
_SAYS_HOW = re.compile(
    r"\b(?:format|reply|respond|answer|write|return|give|use|end|finish|begin|start)\b"
    r"[^\n.!?]{0,120}\b(?:as|like|with|in|by|form|format|template|saying|writing|follows|this|exactly)\b\W*\n\s*\Z"
    r"|(?:\be\.g\.|\bi\.e\.|\b(?:such\s+as|for\s+example|for\s+instance))\W*\Z",
    re.I,
)
"""A line before an answer that says how one is written."""
_IF_ASKED = re.compile(
    r"(?:\A|\n|[^\w\s,'’-])[^\w\n]{0,12}+(?!(?:so|and|well|what|wh\w+|how|is|are|was|were|do|does|did|can|could|should"
    r"|would|will|has|have|the|my|our)\b"
    r"|[^?]*\b(?:answer|decision|label|level|verdict|disposition|category|conclusion|urgency|triage)\b)"
    r"(?:[\w'’-]++ ?){1,4}\?\s*\Z",
    re.I,
)
"""A question without a verb, before an answer: `Fever? The answer is a` says what holds where there is fever."""
_THEN = re.compile(r"\W*(?:if\s+so|in\s+that\s+case|then)\b", re.I)
_PLAIN_LEADS = frozenset({"So ", "So, ", "Therefore, ", "Thus, ", "Hence, ", "Therefore ", "Thus ", "Hence "})
"""Words before a statement that do not change how it is meant."""
CROSSES = "❌✗✘✖🚫⛔👎☒🙅"
"""Signs that say no."""
_CROSS = re.compile(rf"[{CROSSES}]|\[\s?\]|☐")
_CROSSED_BEHIND = re.compile(rf"[\s*_\"'”’.,)(\]]{{0,6}}(?:[{CROSSES}☐]|\[\s?\])")
_WAS = re.compile(r"\bwas\b", re.I)
_GOES_ON = re.compile(
    r"[ \t*_\"'”’)\]}`]*(?:,?\s*which\s+|[,:–—-]\s*(?:which\s+|that\s+)?)?"
    r"(?P<verb>(?:is|was|were|would|will|could|should|must|may|might|can(?:not|['’]t)?|has|had|seems?|looks|does|did"
    r"|do|isn['’]t"
    r"|wasn['’]t|doesn['’]t|didn['’]t|won['’]t)\b)(?P<then>[^.!?\n]{0,80})",
    re.I,
)
"""A verb behind the label: the statement is a part of a sentence that says something of it."""
_APPROVES = re.compile(
    r"\s*(?:\w+ly\s+|the\s+|a\s+|most\s+|more\s+|be\s+|also\s+|still\s+){0,3}(?:right|correct|appropriate|best|fitting"
    r"|suitable|needed|required|warranted"
    r"|indicated|justified|safe\w*|enough|sufficient|adequate|reasonable|necessary|better|recommended|chosen|(?:my|our)(?!\s+(?:first|initial|original|earlier|early|previous)\b)"
    r"|fine|due|proper|clear)\b",
    re.I,
)
_BEHIND = r"[\s*_\"'”’)\],;:(\[–—-]{1,8}(?:(?:but|though|although|yet|however|and|i\.e\.)[\s,]+)?"
_UNREAL = re.compile(
    r"[ \t*_\"'”’)\],;:–>→⇒=-]*(?:not\s+(?:true|so|right|correct|really|any|the\s+case)|wrong|false|incorrect|nonsense"
    r"|yesterday|last\s+(?:week|night|month|year|time)|at\s+first|initially|originally|previously"
    r"|until(?!\s+(?:shown|prove[nd])\s+otherwise)|before\s+(?:I|we|the|this|that)|back\s+then|no\s+(?:more|longer)"
    r"|any\s?more|or\s+so|supposedly|allegedly|said|minus|plus|than|at\s+(?:a|the)\s+(?:very\s+)?(?:minimum|least|most)"
    r"|at\s+least|(?:crossed|struck|ruled)\s+out|in\s+(?:name|theory|(?!my\b)\w+\s(?:\w+['’]s\s)?(?:eyes|view|mind|words)"
    r"|(?:the\s+)?\w+['’]s\s\w+)|on\s+paper|to\s+which|and\s+(?:above|below|higher|lower|upwards?)"
    r"|since\s+(?:(?:up|down)graded|revised|changed|corrected)|(?:I|we)\s+used\s+to)\b|\+(?!\w)"
    r"|[\s,]*[(\[]\s*(?:not\s+(?:\w+\s+)?(?:sure|certain)|unsure|uncertain|unverified|(?:\w+\s+)?guess|self-?reported"
    r"|reported|per\s+(?:the\s+)?(?:caller|patient|mother|father|family|nurse|form|(?:answer\s+)?key|gold\w*|ground\s+truth"
    r"|reference)|auto\w*|random\w*|coin|fall\W?back|arbitrar\w+|hypothetic\w+|theoretic\w+|(?:by\s+)?default|unless"
    r"|assumed|provisional|online|algorithm\w*|app|(?:0|false)(?=\s?[)\]]))\b"
    rf"|{_BEHIND}(?:(?:only|just|merely|at\s+most)\s+)?(?:(?:less|more)(?=\s?[)\].,;]|\s+(?:so|or)\b|\s*\Z)"
    r"|(?:almost|nearly|barely|partly|partially|in\s+part|mostly|largely|somewhat|to\s+(?:some|an?\s+\w+)\s+(?:extent|degree)"
    r"|except(?:ing|ions?)?|excluding|with\s+(?:\w+\s+){1,2}exceptions?|apart\s+from|aside\s+from|save\s+for"
    r"|not\s+(?:quite|entirely|fully|wholly|yet|always)|tentativ\w+|provisional\w*|preliminar\w+|subject\s+to\s+(?:change|review)"
    r"|give\s+or\s+take|invers\w+)\b|[\s(]*±)",
    re.I,
)
"""Words behind the label that say that it is not so, no longer, or not wholly: `urgent (less)`."""
_SCOPE = re.compile(
    rf"{_BEHIND}(?:(?:not|only|just|mainly|at\s+least)\s+)?(?:with\s+(?:respect|regard)s?\s"
    r"|(?:in|among|for|at|under|within|on|during|after|before|against)\s+(?!(?:this|that|these|those|my|our|me|us|both|each"
    r"|every|all|balance|average|view|light|line|keeping|accordance|agreement|general|short|summary|sum|conclusion|total"
    r"|fact|addition|now|least|present|account|grounds|reasons?|the\s+(?:above|light|view|end|reasons?|given|present"
    r"|current|context|case|whole|study|trials?|data))\b)"
    r"|(?:short|long|high|low)(?:er|est)?[\s-](?:term|doses?|risk)\b|[^()\n]{0,60}\bonly\s?\)|(?:\w+\s){1,3}only\s*(?:[.,;]|\Z|\n)"
    r"|(?:sub-?groups?|women|men|adults|children|infants|animals?|mice|rats|fe?males?|smokers)\s*(?:[)\].,;]|\Z|\n))",
    re.I,
)
"""Words behind a yes or no that bind it to some cases: `yes (in mice)`."""
_DENIES_GROUND = re.compile(
    r"[\s*_\"'”’)\].,;:–—-]{0,6}\((?:[^()\n]{0,60}\b)?not\s+(?:\w+ly\s+)?(?:signific|support|show|prove|establish"
    r"|conclus|confirm|consist|clear)\w*",
    re.I,
)
"""A bracket behind a yes that denies its ground: `yes (p = 0.06, not significant)`."""
_NOT_NOW = re.compile(
    r"\b(?:yesterday|last\s+(?:week|night|month|year|time)|previous\w*|formerly|once|used\s+to|back\s+then|ago|before"
    r"|earlier|until|in\s+the\s+past"
    r"|for\s+example|for\s+instance|e\.\s?g\.|example|sample|template|exam|quiz|draft|format|imagin\w+|suppos\w+"
    r"|pretend\w*|guess\w*|say)(?!\w)",
    re.I,
)
_OWN_CLAUSE = re.compile(
    r"(?:[\s*_\"'“‘(>#✅✓✔☑→⇒•\d.)\[\]x|`~$–—-]|\b(?:so|thus|therefore|hence|and|but|then|now|today|here|still|yet|also"
    r"|consequently|accordingly|clearly"
    r"|obviously|overall|ultimately|altogether|indeed|surely|certainly|definitely|simply|really|actually"
    r"|instead|rather|plainly|evidently|again|because|since|as|if\s+anything"
    r"|at\s+(?:the\s+moment|present|this\s+(?:time|point|stage))|for\s+now|in\s+(?:fact|conclusion|summary|short|sum"
    r"|total|general|my\s+\w+|this\s+case|the\s+end|hindsight|retrospect)|as\s+a\s+result"
    r"|for\s+(?:this|that|these|those)\s+reasons?|(?:up)?on\s+(?:reflection|balance|second\s+thoughts?)|all\s+in\s+all"
    r"|(?:it\s+is|it['’]s|there\s+is|there\s+can\s+be)\s+"
    r"(?:no|little|without)\s+(?:a\s+)?doubt|no\s+doubt|without\s+(?:a\s+)?doubt|it\s+follows|that|(?:I|we)(?:['’]d"
    r"|['’]ll|['’]ve)?(?:\s+(?:would|will|do|can|must|have\s+to|now|therefore|thus)){0,3}\s+"
    r"(?:think|believe|say|conclude|find|judge|feel|hold|decide|am\s+\w+)|(?:my|our|the)\s+(?:\w+\s+)?(?:conclusion"
    r"|view|opinion|judge?ment|finding|result|verdict|point)\s+is|I|we"
    r"|above\s+choices|of\s+the|final(?:ly)?|given|considering|based\s+on|which\s+means|this\s+means)\b)*",
    re.I,
)
"""What may stand between the last comma and a statement that is the text's own."""
_CAUSE_FIRST = re.compile(
    r"[\s*_\"'“‘(–—-]*(?:(?:and|but|so|then|now|also)\b[\s,]*)?(?:because|since|as|given|due|owing|considering|with"
    r"|while|although|though|based|taking|looking|after|in\s+(?:light|view)\s+of"
    r"|from|by|even|despite|weighing|putting)\b",
    re.I,
)
_LEADS_ON = re.compile(
    r"\b(?:and|so|thus|therefore|hence|consequently|accordingly|then|today|now|but|yet|here|currently)\W*\Z", re.I
)
_LEADS_ON_MARK = re.compile(r"[;—]|\b(?:so|thus|therefore|hence|today|now|but|yet|however|here|currently)\b", re.I)
_TITLE = re.compile(r"(?:\A|[.,;\n])[^\w\n]{0,8}[^\W\d_][\w'’-]{0,30}(?: [\w'’-]{1,30}){0,3}:[\s*_]{0,6}\Z")
_OF_AN_ANSWER = re.compile(
    r"\b(?:conclusion|conclude|answer|decision|summary|result|assessment|reason\w*|verdict|so|thus|therefore|hence"
    r"|analysis|step|finally|final|view|opinion"
    r"|is|are|was|that|this|it|overall|explanation|rationale|judge?ment|output|response|label|outcome|clear|short\w*"
    r"|triage|recommendation|here|together)\b",
    re.I,
)
_POSSESSIVE = re.compile(r"(?<!today)['’]s\s", re.I)
IN_BRACKETS = re.compile(r"\([^()\n]{0,200}\)")
_OTHERS_TAG = re.compile(
    r"<\w{0,20}(?:example|sample|previous|wrong|bad|draft|old|hypothe|template|alternat|reject)\w{0,20}>\s*\Z", re.I
)
"""A tag around that of an answer, of one that is somebody else's or none."""
_QUOTES = ('"', "“", "‘", "«", "„")
HAS_LETTER = re.compile(r"[^\W\d_]")
_PLAIN_VERB = re.compile(r"\b(?:is|be)[\s:,]*\Z", re.I)
_PLAIN_ENDS = re.compile(rf"\.?\s*\Z|[.!](?=\s)(?!\s*[{CROSSES}])")
_CLAUSE_MARK = re.compile(r"[,;:—]|\s[-–]\s")
_SAYS_WHO = re.compile(
    r"[ \t*_\"'”’),–—-]{1,6}(?:(?:some|many|others?|people|one|they|he|she|(?:the|an?|her|his|my|our"
    r"|their)\s+\w+)\s+(?:would\s+|might\s+|may\s+|could\s+)?"
    rf"(?:{_SAYING})\b|(?:says|said|claims|thinks|believes)\s+(?:some|the|he|she|her|his|one)\b"
    r"|(?:his|her|their|my|the)\s+\w+['’]s\s+(?:words?|view|opinion|idea|choice)\b"
    r"|as\s+(?:an?|some|many|most|others?|the|her|his|their)\s+(?:\w+\s+){0,3}(?:would|might|could|may|will)\b"
    r"|(?:as\s+|so\s+)?(?:I|we)\s+(?:was|were)\s+told\b|according\s+to\s+(?:her|his|their|my|an?|some|others)\b)",
    re.I,
)


def standing_of(
    text: str, first: int, start: int, label_start: int, end: int, stated: StatedLabel, *, is_alone: bool
) -> Standing:
    """How a statement from `start` on is meant, in a sentence from `first` on, with a label that ends at `end`."""
    if stated.label is None:
        return "several" if stated.detail == "two answers stated" else "none"
    prefix, after, lead = (
        IN_BRACKETS.sub("", text[max(first, start - LONGEST_SENTENCE) : start]),
        text[end : end + 200],
        text[start:label_start],
    )
    if prefix in _PLAIN_LEADS and _PLAIN_ENDS.match(after) and _PLAIN_VERB.search(lead):
        return "asserted"
    if _CROSS.search(text, first, label_start) or _CROSSED_BEHIND.match(after):
        return "crossed"
    if prefix[-1:] in _QUOTES and HAS_LETTER.search(after):
        return "denied"  # it is quoted, to say something of it
    has_words, before = HAS_LETTER.search(prefix) is not None, text[max(0, first - 300) : first]
    if _THEN.match(prefix) and before.rstrip().endswith("?"):
        return "conditional"
    if has_words:
        earlier = [match.end() for match in _CONTRAST.finditer(prefix)]
        has_other = "answer" in prefix.casefold() and earlier  # a statement of its own, from which a contrast leads on
        if IF.search(prefix[earlier[-1] :] if has_other else _last_part(prefix)) or _SAYS_HOW.search(prefix):
            return "conditional"
    elif _IF_LINE.search(before) or _IF_ASKED.search(before) or _SAYS_HOW.search(before):
        return "conditional"
    elif is_alone and start and not HAS_LETTER.search(lead) and not _follows_reasons(text, start):
        return "unknown"
    if text[start] == "<" and _OTHERS_TAG.search(text, max(0, start - 60), start):
        return "conditional"
    behind = standing_behind(stated.name, after)
    if behind == "conditional":
        return "conditional"
    is_subjunctive = _WOULD.search(lead) is not None
    if is_subjunctive and (_CIRCUMSTANCE.search(prefix) or IF.search(text, end, sentence_end(text, end))):
        return "conditional"
    if _WAS.search(lead) or behind is not None:
        return behind or "denied"
    if not has_words:
        return "asserted"
    clause = _after_last(_NEW_CLAUSE, prefix)
    if _ONCE.search(clause[-200:]):
        return "reported"
    if (governed := _governed(clause[-200:])) is not None:
        return governed
    if _GENERIC.search(_last_part(prefix)):
        return "elsewhere"
    if (is_alone or _PLAIN_VERB.search(lead)) and not _is_own(prefix):
        return "unknown"
    return "circumstance" if _CIRCUMSTANCE.search(_last_part(prefix)) else "asserted"


def _follows_reasons(text: str, position: int) -> bool:
    """Whether the sentence before a position may be the last of the reasons: no title, and no condition."""
    end = len(text[:position].rstrip())
    before = text[sentence_start(text, max(0, end - 1)) : end]
    if IF.search(before) or _GOES_NOWHERE.search(before):
        return False
    return len(before.split()) >= FEWEST_WORDS or _ITEM.match(before) is not None


_GOES_NOWHERE = re.compile(r"\b(?:to|from|of|the|an?|as|for|with|is|was|not|called|than)\W*\Z", re.I)
_ITEM = re.compile(r"\s*(?:[-*•]|\d{1,2}[.)])\s")


def _is_own(prefix: str) -> bool:
    """Whether the words before a statement leave it the text's own: a reason, or what leads on; nothing that is not
    known, such as `the second best`, and no time or example before it."""
    if _GOVERNS.search(prefix[-200:]):
        return True  # by whom, is looked at before
    clause = _after_last(_CLAUSE_MARK, prefix)
    if (title := _TITLE.search(prefix[-140:])) is not None and (
        not _OF_AN_ANSWER.search(title.group()) or _POSSESSIVE.search(title.group())
    ):
        return False
    if not (_OWN_CLAUSE.fullmatch(clause) or _CAUSE_FIRST.match(clause) or _LEADS_ON.search(clause)):
        return False
    leading = _after_last(_LEADS_ON_MARK, prefix)
    return _NOT_NOW.search(leading) is None or _CAUSE_FIRST.match(leading) is not None


def _governed(clause: str) -> Standing | None:
    """Whether the words before a statement make it someone else's, or deny it; None where they do neither."""
    governs = _GOVERNS.search(clause)
    if governs is None:
        return None
    before = clause[: governs.start()].rpartition(",")[2]
    whole = before + governs.group()
    if _NEGATION.search(_NO_DOUBT.sub("", whole)):
        return "denied"
    if governs.group("inferring"):
        is_persons = _PERSON.search(before) is not None or _POSSESSIVE.search(before) is not None
        is_others = is_persons and _FIRST_PERSON.search(before) is None
    else:
        is_others = _FIRST_PERSON.search(before) is None or _NO_LONGER.search(whole) is not None
    return "reported" if is_others else None


def _last_part(prefix: str) -> str:
    """The text behind the last semicolon."""
    return prefix[max(prefix.rfind(";"), prefix.rfind("—")) + 1 :]


def _after_last(pattern: re.Pattern[str], text: str) -> str:
    end = 0
    for match in pattern.finditer(text):
        end = match.end()
    return text[end:]


def sentence_start(text: str, position: int) -> int:
    """Where the sentence at a position begins; behind a full stop, a small letter or a digit begins none, nor does a
    small letter on the next line of a wrapped text."""
    first = max(0, position - LONGEST_SENTENCE)
    for match in reversed(list(_SENTENCE.finditer(text, first, position))):
        if _begins_behind(text, match):
            return match.end()
    return 0


def _begins_behind(text: str, match: re.Match[str]) -> bool:
    """Whether a sentence begins behind a full stop or a line break."""
    end = match.end()
    following = text[end : end + 1]
    if match.group() == "\n":
        before = text[match.start() - 1 : match.start()]
        return not (following.islower() and (before.isalpha() or before == ","))
    return text[end - 1] == "\n" or not (following.islower() or following.isdigit())


def sentence_starts(text: str) -> Iterator[int]:
    """Where the sentences of a text begin."""
    yield 0
    yield from (match.end() for match in _SENTENCE.finditer(text) if _begins_behind(text, match))


def sentence_end(text: str, position: int) -> int:
    """Where the sentence at a position ends, its full stop included."""
    last = min(len(text), position + LONGEST_SENTENCE)
    for match in _SENTENCE.finditer(text, position, last):
        following = text[match.end() : match.end() + 1]
        if text[match.end() - 1] == "\n" or not (following.islower() or following.isdigit()):
            return match.end() if match.group() != "\n" else match.start()
    return last


def standing_behind(name: str, behind: str) -> Standing | None:
    """How what follows a label means it, by the name that is written; None where it leaves it asserted."""
    is_bound = name.casefold() in REPLIES and _SCOPE.match(behind) is not None
    if is_bound or THEN_IF.match(behind) or QUESTION.match(behind):
        return "conditional"
    if says_of_it(behind) or _UNREAL.match(behind):
        return "denied"
    if name.casefold() in AFFIRMATIVE and _DENIES_GROUND.match(behind):
        return "denied"
    return "reported" if _SAYS_WHO.match(behind) else None


def says_of_it(behind: str) -> bool:
    """Whether what follows an answer is a verb, so that the sentence says something of the answer, and does not approve
    of it: `is what he said`."""
    goes_on = _GOES_ON.match(behind)
    return goes_on is not None and not _APPROVES.match(goes_on["then"])


def says_another(sentence: str) -> bool:
    """Whether a sentence says what somebody else thinks."""
    return _PERSON.search(sentence) is not None and _SAYS.search(sentence) is not None and not _FIRST_PERSON.search(
        sentence)  # fmt: skip
