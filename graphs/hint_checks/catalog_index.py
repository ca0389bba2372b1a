"""Words that advice about items is made of, and that are no evidence of a title."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ARTICLES = _words("the a an le la les l un une el los las il lo gli der die das ein eine o os as")

FUNCTION_WORDS = ARTICLES | _words(
    """
    about above across after against all almost along also although always am among and another any
    anybody anyone anything are around at away back be because been before behind being below
    beneath beside between beyond both but by came can come could d de del des di did do does doing
    done down du during each either else en et even ever every everybody everyone everything few
    for from get gets go goes going gone had has have having he hence her here hers him his how i
    if in into is it its itself just let like ll m many may me might mine more most much must my
    near neither never next no nobody none nor not nothing now of off often on once one only onto
    or other others our ours out over own per perhaps please quite rather re s shall she should
    since so some somebody someone something sometimes soon still such t than that their theirs
    them then there these they this those though through thus to together too toward towards two
    under und unless until up upon us ve very was we well were what whatever when where whether
    which while who whoever whom whose why will with within without would y yet you your yours
    """
)

GENRE_WORDS = _words(
    """
    action adventure adventures adult animated animation anime art arthouse biographical biographies
    biography biopic biopics blockbuster blockbusters caper children childrens cinema classic
    classics comedies comedy comic concert crime cult disaster documentaries documentary drama
    dramas dramatic epic epics erotic experimental family fantasies fantasy fi fiction film films
    foreign gangster heist historical history holiday horror imax independent indie kids literary
    martial melodrama melodramas movie movies music musical musicals mysteries mystery noir novel
    novels parody period police political psychological religious romance romances romantic satire
    satires sci science screwball series short silent slapstick slasher sport sports spy superhero
    supernatural suspense teen thriller thrillers tragedy tragic tv war western westerns youth
    book books game games song songs album albums artist artists genre genres title titles
    """
)

PLAIN_WORDS = _words(
    """
    abroad absurd acclaimed account acting actor actors actress actresses adapt adaptation
    adaptations add advice age ages aim alien aliens alike alone alternative ambiguous american
    ancient animal animals appeal appealing appear appears approach asia asian atmosphere
    atmospheric attention audience audiences author avoid award awards bad balance based beautiful
    begin beginning behaviour behavior best better bias big bigger black bleak blend blending bold
    brand brands break brief bright british broad broader budget calm camera candidate candidates
    care careful cast category cause central century chance change character characters charm
    charming chase cheap check child childhood chinese choice choices choose chosen christmas
    cinematic cinematography city clear clever close closely closer cold college color colorful
    coming common company compare complex con connection consider considering consistent
    contemporary content contrast cool cost counteract country countries couple creative crisis
    critic critical critically critics cultural culture cut cute daily dance danger dangerous dark
    darker date day days dead deal death decade decades decline deep deeper depth design desire
    detail details detective different direct directed direction director directors distant
    distinct distinctive diverse diversity divorce double doubt dream dreams dry dynamic earlier
    early earth ease echo edge educational element elements emotion emotional emphasis emphasize end
    ending endings energy english enjoy enjoyed enjoys ensemble entertaining entertainment era eras
    escape europe european evening event events evil exceptional excessive excitement exciting
    existing expand expect explore extreme eye eyes face faces fact fair faith fame familiar famous
    fan fans far fashion fast father fathers favor favorite favour favourite fear feature features
    feel feelgood feeling feels female feminist fewer fight fighting final find fine first fit fits
    flavor flavour focus follow following food force form format free french fresh friend friends
    friendship fun funny future gain gap gender general generation gentle genuine german gentler
    ghost ghosts girl girls give given good great greater grief gritty group grow growing growth gun
    guns happy hard harm heart heavily heavy help hero heroes heroine heroines hidden high higher
    highest highlight hint hints hip hit hits hollywood home hope hot hotel hour house human humor
    humorous humour hunt idea identity images imaginative immigrant impact important include
    including increase influence innovative inspired instead intense intensity interest interested
    interests international intimate italian item items japanese journey joy judge justice keep
    key kill killer killers kind kinds king korean land language languages large last late later
    latest law lead leading lean learn least leave leaving left legal less lesser let level liked
    liking likeness limit limited line lines list little live lived lively lives living local lonely
    loneliness long longer look looking lose loss lost lot love lover lovers loves loving low lower
    lowest loyal mad made magic main mainstream make makes making male man manner mark marriage
    married mass match matching matter matters mature mean meaning medium meets member memory men
    mental mid middle mild military mind minor mix mixed modern moment moments money monster
    monsters mood moods moral mother mothers move moving multiple mundane murder murders music name
    narrative narratives natural nature need new newer newest news niche night nights nominated
    normal nostalgia nostalgic not noted number numbers objects obscure occasion occasionally odd
    offbeat offer office old older oldest open opposite order ordinary original originals oscar
    oscars outlook pace paced pacing pair paris part parts party passion past patient pattern
    patterns pay peace people performance performances person personal personality persons
    perspective philosophical picture pictures place places plain play player playful playing plays
    plot plots poetic popular popularity portrait portraits positive power powerful prefer
    preference preferences preferred prefers present prestige pretty previous previously price
    prices princess priority prioritize prison private product production productions profile
    project promote proper public pure put quality quest quick quiet quirky race radio range rank
    ranked rare rate rated rating ratings raw read reader real realism realistic reality reason
    rebel recent recently recommend recommendation recommendations recommended recommending
    recurring red reflect reflective regional related relation relations relationship relationships
    release released releases remake remakes remember repeat repeated rescue respect rest result
    return revenge rich ride right rise rising rival road robot robots role roles root rough round
    royal rule run running rural russian sad safe same savage scale scene scenes scheme school score
    scores screen script search season secret secrets seek seem sense sequel sequels serial serious
    set sets setting settings sex shared shares sharp ship shorter shot show shows side sight sign
    similar simple single sisters size skip sleep slice slow slower small smaller smart social
    society soft soldier soldiers soul sound soundtrack soundtracks source space spanish special
    speed spirit spiritual stage stand star stars start state states stay step stories story
    storytelling straight strange stranger strangers street strength strong stronger student
    studio studios style styles stylish sub subject subtle suburban success suit summer surprise
    surreal survival survive take taken takes tale tales taste tastes team technical teenage
    teenagers tender tension term terms test thematic theme themed themes thing things think thought
    tight time times tone tones top touch tough town toy toys track trade tradition traditional
    travel treat trend trial trick trip trips trouble true trust truth turn twist twisted twists
    type types ultra unconventional underrated unexpected unique universal unknown unusual upbeat
    urban use used user users value values variety various vast version very view viewer viewers
    viewing views village villain villains violence violent visual visually vote voted votes wait
    walk want war warm watch watched watching way ways weak wealth weather wedding weigh weight
    weird whimsical white whole wide wider wife wild win winning winter witty woman women wonder
    word words work works world worlds worth write writer writers wrong year years young younger
    """
)

PROPER_WORDS = _words(
    """
    africa african america american anglo arab arabic argentina asia asian australia australian
    austria bafta baftas berlin bollywood brazil brazilian britain british broadway cannes canada
    canadian catholic chinese christian christmas cuban danish disney dutch easter emmy england
    english europe european finnish france french german germany globe golden greek halloween hindi
    hollywood hungarian iceland icelandic india indian iran iranian ireland irish israel israeli
    italian italy japan japanese jewish korea korean latin london mandarin mexican mexico muslim
    nordic norwegian oscar oscars paris polish portuguese roman romanian russia russian sanskrit
    scandinavian scottish shakespeare soviet spain spanish sundance sunday swedish swiss taiwanese
    thai turkish tv uk us usa venice victorian vietnam vietnamese york
    """
)
"""Words that have their capital everywhere, so that it says nothing."""

ORDINARY_WORDS = FUNCTION_WORDS | GENRE_WORDS | PLAIN_WORDS | PROPER_WORDS
