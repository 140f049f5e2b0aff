"""From a measured clip to an explanation: likelihoods, structured answers, checks, chat."""
