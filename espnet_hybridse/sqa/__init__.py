"""Training of the quality network behind the SQA loss on metrics that were computed here."""
