"""Training of DEFT-LLM: recipe, model, data sets, stages, cost, export."""
