"""LangGraph state graphs and their nodes."""
