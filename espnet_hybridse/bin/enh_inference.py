"""`python -m espnet_hybridse.bin.enh_inference`: `espnet2.bin.enh_inference` with our models."""

from espnet2.bin import enh_inference

from espnet_hybridse.training.task import HybridEnhancementTask


class InferenceTask(HybridEnhancementTask):
    """The task without training's crops: whole files come in as they are."""

    @classmethod
    def build_preprocess_fn(cls, args, train):
        return None


def main(cmd=None):
    """Enhance with stock ESPnet's `SeparateSpeech`; `cmd` as in espnet2."""
    # The stock module looks its task up by this name when it loads a model.
    enh_inference.EnhancementTask = InferenceTask
    enh_inference.main(cmd=cmd)


if __name__ == "__main__":
    main()
