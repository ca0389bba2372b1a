"""Prompt injection: hints that give the model orders instead of advice on items.

"Ignore popularity" is advice; "ignore the previous instructions" is an order. The difference is
what they are about: the conversation, the form of the answer, or what the model is. Only English is
recognised: ``rejection_of`` therefore rejects other languages by default.
"""

from __future__ import annotations

import re

from agentrec.graphs.hint_checks.normalization import fold

_IGNORE = r"\b(?:ignor|disregard|forget|overrid|bypass|neglect|discard|obey|follow)\w*"
_INSTRUCTIONS = "|".join(
    (
        r"\b(?:instructions?|directives?|directions|guidelines?|prompts?)\b",
        r"\b(?:all|any|your|my|previous|prior|above|earlier|system|these) (?:\w+ )?rules?\b",
        r"\bsystem message|\bprevious messages?\b",
        r"\b(?:everything|anything|all of the|all the) above\b(?! \d)",
        r"\b(?:you were|you have been|i) told\b|\b(?:said|written) (?:above|before)\b",
    )
)
_BETWEEN = ".{0,60}?"

_ONLY = r"(?:only|just|nothing|exactly|with|as json|the following|json)"
_FORM = r"in (?:json|english|french|german|capitals|caps|upper|base64|code)"
_ORDINAL = r"(?:first|second|third|fourth|fifth|last|top|bottom)"
_CHOICE = r"(?:candidates?|options?|handles?|entry)"
_PATTERNS = (
    rf"{_IGNORE}{_BETWEEN}(?:{_INSTRUCTIONS})|(?:{_INSTRUCTIONS}){_BETWEEN}{_IGNORE}",
    # Who is speaking, as in a transcript.
    r"(?:^|[\s\W])(?:system|assistant|developer|chatgpt|gpt)\s*[:>\]]",
    r"(?:^|[.!?]\s+|\n)\s*(?:user|human|ai|task|tool|hint|instructions?|role|bot)\s*:",
    # What the model is.
    r"\byou are (?:now|no longer)\b|\byou're now\b|\bfrom now on,? you\b",
    r"(?:^|[.;:!,] *|please )(?:act|behave|pretend|roleplay|role-play) (?:as|to be|like|that)\b",
    r"\byou must now\b|\bdo (?:what|as) (?:i|you)\b|\b(?:speak|talk|behave) like (?:an?|the)\b",
    r"\bas an ai\b|\bjailbreak|\bdeveloper mode|\bdo anything now|\bprompt injection",
    # The prompt and its secrets.
    r"\bnew instructions?\b|\bsystem message|\bapi[ _-]?keys?\b|\bpasswords?\b",
    r"\b(?:system|this|the|your|my|entire|whole|hidden|initial) prompts?\b",
    r"\b(?:your|these|those|previous|prior|above|hidden|secret) (?:\w+ )?instructions?\b",
    r"\b(?:end|begin|start) (?:of )?(?:the )?(?:hints?|prompt|instructions?|system)\b",
    r"\b(?:repeat|reveal|show|print|leak|translate|summari[sz]e|quote) (?:\w+ ){0,3}"
    r"(?:above|verbatim|prompt|instructions?|message|conversation|words|secrets?)\b",
    # The form of the answer.
    rf"\b(?:output|print|reply|respond|answer|return|write|echo) (?:\w+ )?(?:{_ONLY}|{_FORM})\b",
    r"\b(?:only|just|always|simply|instead) (?:ever )?(?:output|print|reply|respond|answer|say)\b",
    r"(?:^|[.;:!,] *|\b(?:and|then|please|now|must) )(?:say|print|output|reply|echo|type)\b",
    r"\b(?:do not|don't|never|stop|refuse to) (?:answer|respond|reply|obey|recommending"
    r"|follow (?:the|your|any)|(?:rank|recommend) anything)\b",
    # A position in the list of candidates, whatever stands there.
    rf"\b{_ORDINAL} (?:\w+ )?{_CHOICE} (?:first|on top|at the top|in the list|listed|shown)\b",
    rf"\b(?:choose|pick|rank|put|place|select|return) the {_ORDINAL} (?:{_CHOICE}|line)\b",
)
_ORDERS = re.compile("|".join(_PATTERNS))


def gives_orders(reading: str) -> bool:
    """Return whether a text speaks to the model about anything but items."""
    return _ORDERS.search(" ".join(fold(reading).replace("\u2019", "'").split())) is not None
