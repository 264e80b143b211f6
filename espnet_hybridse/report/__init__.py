"""`hybridse report`: everything that is known of scored systems on one page, and as Markdown."""
