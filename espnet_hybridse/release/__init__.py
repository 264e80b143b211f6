"""What leaves the house: packed folders, ESPnet zips, hub folders, challenge submissions."""
