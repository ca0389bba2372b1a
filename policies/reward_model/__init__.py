"""What says how much a preference text helps: a recommender that can be told one."""
