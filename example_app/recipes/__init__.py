"""Five small systems, each a host app of at most 30 lines; docs/how-to/recipes.md tells what each setting does."""
