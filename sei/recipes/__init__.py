"""Recipes: one module a method, each a class whose fields are its configuration and whose `run` reads like the algorithm."""
