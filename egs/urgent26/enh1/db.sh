# Where the corpora lie; an empty one is left out. `local/data.sh --list true` says for each what to
# download, from where, under which licence, and what the folder named here must hold.
# Another file of this kind is named with --db.

# Speech.
DNS5_SPEECH=   # above book_*_reader_*.wav, such as dns5_fullband/Track1_Headset
LIBRITTS=      # holds train-clean-100, train-clean-360, dev-clean, test-clean
VCTK=          # holds wav48_silence_trimmed and txt
EARS=          # holds p001 to p107 and transcripts.json
MLS=           # holds mls_german, mls_spanish, mls_french; or german, spanish, french
COMMONVOICE=   # holds de, en, es, fr, zh-CN: cv-corpus-19.0-2024-09-13
NNCES=         # holds Read_Speech_Data and Spontaneous_Speech_Data
SENIORTALK=    # holds sentence_data
VOCALSET=      # holds FULL
ESD=           # holds 0001 to 0020

# Noise.
DNS5_NOISE=    # datasets_fullband/noise_fullband
WHAM=          # high_res_wham: holds audio and high_res_metadata.csv
FSD50K=        # holds FSD50K.dev_audio and FSD50K.ground_truth
FMA=           # holds fma_medium and fma_metadata
WIND=          # empty: wind noise is generated

# Room responses.
RIRS=          # datasets_fullband/impulse_responses, or RIRS_NOISES; empty: rooms are simulated
