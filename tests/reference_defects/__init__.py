"""What the reference code of Re2LLM gets wrong, and the tests that ours does not.

A file holds one defect, and every test in it carries the defect's number. Each goes through the
parts that a user has: trainers, graphs, stores, gateway, journal and files. Other folders test the
same parts in depth.

==  ================================================================================================
01  The policy never acts: a softmax over an axis of length 1 leaves sampling uniform, the greedy
    choice always "no hint", and the released checkpoint untrained in effect.
02  Rewards of one data set are computed against the base answers of another.
03  A bandit is treated as an episode: advantage estimation chains unrelated sessions.
04  A state sees the first item alone, or shifts where an item lacks an attribute.
05  The knowledge base is shuffled at the end, so that "no hint" need not be action 0.
06  Exploration, training and test put the same hint into three different prompts; no hint is an
    empty "Hint:".
07  Nothing is validated: training sessions are evaluated on, and days straddle the random split.
08  A hint is kept after one success on the session it comes from, by a model that saw the target.
09  No metric is computed; the test script stops at session 100; candidates name unknown ids.
10  Titles are identities although they repeat; candidate lists hold a target twice or one that is
    in the history.
11  Targets at the first positions are found more often; nothing controls for it.
12  Answers are parsed by substrings and full stops; headings and items from elsewhere take ranks.
13  Calls are made one after the other, without a rate limit, and many times over.
14  Retries end in an unbound variable or a half-built conversation; the checkpoint's folder is
    missing; a GPU is demanded; nothing is seeded; files are pickles.
==  ================================================================================================
"""
