"""Whether a hint orders the model about instead of advising it on items.

"Ignore popularity" is advice; "ignore the previous instructions" is not. What tells them apart
is what they are about: the conversation, the answer's form, or what the model is.
"""

from __future__ import annotations

import re

from agentrec.graphs.hint_checks.normalization import fold

_NEAR = 60

# Beginnings of words that mean "do not heed", by language: English, German, French, Spanish,
# Portuguese, Italian, Dutch, Swedish, Polish, Turkish, Russian, Ukrainian, Arabic, Hindi.
_UNHEEDING = """
    ignor disregard forget overrid bypass neglect discard obey follow
    vergiss vergessen missacht beachte befolg oublie neglige olvid omit
    esquec desconsider dimentic trascur negeer vergeet glom strunta zignor zapomn pomin
    unut yoksay dikkate игнорир забуд отмен пренебрег ігнор تجاهل انس अनदेखा भूल
"""
# Beginnings of words for what a model was told.
_TOLD = """
    instructions directive guideline prompts anweisung anleitung vorgabe befehl consigne
    instrucci instruco istruzion instruktion instrukcj ordenes indicacion ordini opdracht
    instructie aanwijzing polecen talimat komut
    инструкц указани правил інструкц التعليمات الاوامر تعليمات निर्देश
"""
_TOLD_PHRASES = (
    r"\b(?:instruction|prompt|directions)\b",
    r"\b(?:all|any|your|my|previous|prior|above|earlier|system|these) (?:\w+ )?rules?\b",
    r"\bsystem message|\bprevious messages?\b",
    r"\b(?:everything|anything|all of the|all the) above\b(?! \d)",
    r"\b(?:you were|you have been|i) told\b|\b(?:said|written) (?:above|before)\b",
    r"\balles (?:vorherige|davor|bisherige)|\btodo lo anterior|\btout ce qui precede",
)

_ONLY = r"(?:only|just|nothing|exactly|with|as json|the following|json)"
_FORM = r"in (?:json|english|french|german|capitals|caps|upper|base64|code)"
_ORDINAL = r"(?:first|second|third|fourth|fifth|last|top|bottom)"
_CHOICE = r"(?:candidates?|options?|handles?|entry)"
_ABOUT_ITSELF = (
    r"\byou are (?:now|no longer)\b|\byou're now\b|\bfrom now on,? you\b|\bnew instructions?\b",
    r"(?:^|[.;:!,] *|please )(?:act|behave|pretend|roleplay|role-play) (?:as|to be|like|that)\b",
    r"\byou must now\b|\bdo (?:what|as) (?:i|you)\b|\b(?:speak|talk|behave) like (?:an?|the)\b",
    r"\bas an ai\b|\bjailbreak|\bdeveloper mode|\bdo anything now|\bprompt injection",
    r"\b(?:system|this|the|your|my|entire|whole|hidden|initial) prompts?\b|\bsystem message",
    r"\b(?:your|these|those|previous|prior|above|hidden|secret) (?:\w+ )?instructions?\b",
    r"\bapi[ _-]?keys?\b|\bpasswords?\b",
    r"\b(?:end|begin|start) (?:of )?(?:the )?(?:hints?|prompt|instructions?|system)\b",
    rf"\b(?:output|print|reply|respond|answer|return|write|echo) (?:\w+ )?(?:{_ONLY}|{_FORM})\b",
    r"\b(?:only|just|always|simply|instead) (?:ever )?(?:output|print|reply|respond|answer|say)\b",
    r"(?:^|[.;:!,] *|\b(?:and|then|please|now|must) )(?:say|print|output|reply|echo|type)\b",
    r"\b(?:repeat|reveal|show|print|leak|translate|summari[sz]e|quote) (?:\w+ ){0,3}"
    r"(?:above|verbatim|prompt|instructions?|message|conversation|words|secrets?)\b",
    r"\b(?:do not|don't|never|stop|refuse to) (?:answer|respond|reply|obey|recommending"
    r"|follow (?:the|your|any)|(?:rank|recommend) anything)\b",
    rf"\b{_ORDINAL} (?:\w+ )?{_CHOICE} (?:first|on top|at the top|in the list|listed|shown)\b",
    rf"\b(?:choose|pick|rank|put|place|select|return) the {_ORDINAL} (?:{_CHOICE}|line)\b",
    # German.
    r"\bantworte\w* (?:\w+ )?(?:nur|mit|ausschliesslich)\b|\bdu bist (?:jetzt|nun|ab)\b",
    r"\bgib (?:\w+ ){0,3}aus\b|\bwiederhole (?:den|diesen|deine)\b",
    # French.
    r"\breponde?z? (?:\w+ )?(?:uniquement|seulement|par|avec)\b",
    r"\breponds (?:\w+ )?(?:uniquement|seulement|par|avec)\b",
    r"\b(?:tu es|vous etes) (?:maintenant|desormais)\b",
    # Spanish, Portuguese, Italian.
    r"\br[ei]spond[aeio] (?:\w+ )?(?:solo|solamente|unicamente|con|apenas|somente|com|soltanto)\b",
    r"\b(?:ahora eres|eres ahora|agora voce e|voce agora e|ora sei|sei ora|adesso sei)\b",
    # Dutch, Polish, Swedish, Turkish.
    r"\bantwoord (?:\w+ )?(?:alleen|met)\b|\b(?:je|u) bent nu\b",
    r"\bodpowied\w* (?:\w+ )?tylko\b|\bjestes teraz\b|\bteraz jestes\b",
    r"\bdu ar nu\b|\bsvara (?:bara|endast|med)\b|\bartık sen\b|\bsadece \w+ yaz",
    # Russian, Arabic, Hindi.
    r"\bотвеча\w* (?:\w+ )?только|\bответь\w* (?:\w+ )?(?:только|словом)|\bвыведи\b",
    r"\bты теперь\b|\bтеперь ты\b|\bانت الان\b|\bاجب ب|\bअब (?:तुम|आप)\b",
)
# No spaces between words: anywhere. Verb and thing stand in either order.
_EASTERN = (
    (
        "忽略 忽視 忽视 无视 無視 忘记 忘記 不要理会 不要理會 무시 잊어",
        "指令 指示 说明 說明 提示 规则 規則 命令 プロンプト 指図 지시 명령 프롬프트 지침",
    ),
    (
        "你现在 你現在 从现在起 從現在起 只输出 只輸出 只回答 只回复 重复 系统提示 輸出 输出 "
        "あなたは今 あなたはこれから だけを出力 だけ出力 だけ答え と答えて のみ出力 出力して "
        "당신은 이제 너는 이제 만 출력 라고 답 라고 대답 출력해",
        "",
    ),
)
_ROLE = re.compile(
    r"(?:^|[\s\W])(?:system|assistant|developer|chatgpt|gpt)\s*[:>\]]"
    r"|(?:^|[.!?]\s+|\n)\s*(?:user|human|ai|task|tool|hint|instructions?|role|bot)\s*:"
)


def _beginnings(words: str) -> str:
    return rf"\b(?:{'|'.join(fold(word) for word in words.split())})\w*"


def _either_order(first: str, second: str) -> str:
    return rf"(?:{first}).{{0,{_NEAR}}}?(?:{second})|(?:{second}).{{0,{_NEAR}}}?(?:{first})"


_TOLD_ANY = "|".join((_beginnings(_TOLD), *_TOLD_PHRASES))
_UNHEED = re.compile(_either_order(_beginnings(_UNHEEDING), _TOLD_ANY))
# Folded as texts are, but for what is ASCII, where a capital is part of the pattern's language.
_ITSELF = re.compile("|".join(p if p.isascii() else fold(p) for p in _ABOUT_ITSELF))


def _any_of(words: str) -> str:
    return "|".join(fold(word) for word in words.split())


_EAST = re.compile(f"{_either_order(*map(_any_of, _EASTERN[0]))}|{_any_of(_EASTERN[1][0])}")


def gives_orders(reading: str) -> bool:
    """Whether a text speaks to the model about anything but items."""
    text = " ".join(fold(reading).replace("\u2019", "'").split())
    return any(pattern.search(text) for pattern in (_ROLE, _UNHEED, _ITSELF, _EAST))
