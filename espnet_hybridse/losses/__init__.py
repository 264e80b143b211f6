"""Training losses on waveforms, spectra and tokens; nothing here knows another folder."""
