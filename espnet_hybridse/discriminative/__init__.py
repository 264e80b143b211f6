"""The discriminative branch."""

from espnet_hybridse.discriminative.tfgridnet_sfi import TFGridNetSFI as TFGridNetSFI
