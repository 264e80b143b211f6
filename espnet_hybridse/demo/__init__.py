"""`hybridse demo`: a page in the browser for one recording, and a model hub's Space."""
