"""Training engine, independent of the models: task protocol, loop, folds, schedule, Muon."""
