"""Ordinary English words, which are no evidence that a hint names a title."""

from __future__ import annotations

from functools import lru_cache


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ARTICLES = _words("the a an le la les l un une el los las il lo gli der die das ein eine o os as")
"""Articles that titles begin with, or end with behind a comma."""

_ENGLISH_FUNCTION_WORDS = _words(
    """
    a about above across after against all almost along also although always am among an and
    another any anybody anyone anything are around as at away back be because been before behind
    being below beneath beside between beyond both but by came can come could did do does doing
    done down du during each either else even ever every everybody everyone everything few for
    from get gets go goes going gone had has have having he hence her here hers him his how i if
    in into is it its itself just let like ll m many may me might mine more most much must my
    near neither never next no nobody none nor not nothing now of off often on once one only
    onto or other others our ours out over own per perhaps please quite rather re s shall she
    should since so some somebody someone something sometimes soon still such t than that the
    their theirs them then there these they this those though through thus to together too
    toward towards two under unless until up upon us ve very was we well were what whatever when
    where whether which while who whoever whom whose why will with within without would yet you
    your yours
    """
)

FUNCTION_WORDS = _ENGLISH_FUNCTION_WORDS | ARTICLES | _words("d de del des di en et es und y")
"""Words without a meaning of their own, in English and in titles."""

PROPER_WORDS = _words(
    """
    africa african america american anglo arab arabic argentina asia asian australia australian
    austria berlin brazil brazilian britain british canada canadian catholic chinese christian
    christmas cuban danish dutch easter england english europe european finnish france french
    german germany greek halloween hindi hungarian iceland icelandic india indian iran iranian
    ireland irish israel israeli italian italy japan japanese jewish korea korean latin london
    mandarin mexican mexico muslim nordic norwegian paris polish portuguese roman romanian
    russia russian sanskrit scandinavian scottish soviet spain spanish sunday swedish swiss
    taiwanese thai turkish tv uk us usa venice victorian vietnam vietnamese york
    """
)
"""Words that always have a capital, so that it marks no title."""

_BASE_WORDS = _words(
    """
    abroad absurd account action add adult adventure advice age aim album alike alone
    alternative ambiguous ancient animal appeal appear approach art artist atmosphere
    atmospheric attention author avoid award bad balance based beautiful begin behavior
    behaviour best better bias big black bleak blend bold book boost brand break brief bright
    broad budget calm candidate care careful category cause central century chance change
    character charm cheap check child childhood children choice choose chosen city classic clear
    clever close cold college color colorful comic common company compare complex concert
    connection consider consistent contemporary content contrast cool cost counteract country
    couple creative crime crisis critical cult cultural culture cut cute daily dance danger
    dangerous dark date day dead deal death decade decline deep depth design desire detail
    different direct direction disaster distant distinct distinctive diverse diversity divorce
    double doubt dream dry dynamic earlier early earth ease echo edge educational element
    emotion emotional emphasis emphasize end energy enjoy entertaining entertainment era escape
    event evil exceptional excessive excitement exciting existing expand expect explore extreme
    eye face fact fair faith fame familiar family famous fan fantasy far fashion fast father
    favor favorite favour favourite fear feature feel female feminist fewer fiction fight film
    final find fine first fit flavor flavour focus follow food force foreign form format free
    fresh friend friendship full fun funny future gain game gap gender general generation genre
    gentle genuine girl give given good great grief group grow growth happy hard harm heart
    heavily heavy help hidden high highlight hint hip historical history hit hold holiday home
    hope hot hotel hour house human humor humorous humour idea identity ignore images
    imaginative immigrant impact important include increase independent influence innovative
    inspired instead intense intensity interest international intimate item journey joy judge
    justice keep key kids kill kind king know known land language large last late law lead lean
    learn least leave left legal less level likeness limit line list literary little live local
    loneliness lonely long look lose loss lost lot love low loyal mad made magic main make male
    man mark marriage married mass match matter mature mean medium meets member memory men
    mental mid middle mild military mind minor mix modern moment money mood moral mother move
    movie multiple mundane music musical mystery name natural nature need new niche night normal
    nostalgia nostalgic novel number objects obscure occasion occasionally odd office old open
    opposite order ordinary original outlook pace pair part party passion past patient pattern
    pay peace people period person personal personality perspective philosophical picture place
    plain play playful poetic police political popular popularity positive power powerful prefer
    preference present pretty previous price prioritize priority prison private product
    production profile project promote proper psychological public pure put quality quest quick
    quiet race radio range rank rare rate raw read real realism realistic reality reason rebel
    recent recommend recommendation recurring red reflect reflective regional related relation
    relationship release religious rely remember repeat rescue respect rest result return
    revenge rich ride right rise rival road role romantic root rough round royal rule run rural
    sad safe same savage scale scheme school science score search season secret seek seem sense
    series serious set several sex shared shares sharp ship short show side sight sign silent
    similar simple single sisters size skip sleep slice slow small smart social society soft
    soldier song soul sound source space special speed spirit spiritual sport stage stand start
    state stay step story straight strange street strength strong student style stylish subject
    subtle suburban success suggest suit summer surprise surreal survival survive take taken
    tale taste team technical teenage teenagers tender tension term test thematic theme thing
    think thought tight time title tone top touch tough town toy track trade tradition
    traditional tragic travel treat trend trial trick trip trouble true trust truth turn type
    ultra unconventional unexpected unique universal unknown unusual upbeat urban use usual
    value variety various vast version view village violence violent visual vote wait walk want
    war warm watch way weak wealth weather wedding weigh weight weird white whole wide wife wild
    win winter woman women wonder word work world worth write wrong year young youth
    """
)
_ENDINGS = ("s", "es", "d", "ed", "r", "er", "st", "est", "ing", "ly")


@lru_cache(maxsize=4096)
def is_english(word: str) -> bool:
    """Return whether a folded word is a common English word, in any of its regular forms."""
    if word in _ENGLISH_FUNCTION_WORDS or word in PROPER_WORDS or word in _BASE_WORDS:
        return True
    return any(
        base in _BASE_WORDS or f"{base}e" in _BASE_WORDS or base[:-1] in _BASE_WORDS
        for ending in _ENDINGS
        if word.endswith(ending) and len(base := word.removesuffix(ending)) > 2
    ) or (word.endswith("ies") and f"{word[:-3]}y" in _BASE_WORDS)
