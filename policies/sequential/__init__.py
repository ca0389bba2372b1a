"""Sequential recommenders: what comes next, learnt from item ids alone."""
