"""The engine of every training: task protocol, loop, folds, schedule, Muon; it knows no system."""
