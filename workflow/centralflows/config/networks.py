"""The settings of networks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import (
    Field,
)

from .datasets import Kind
from .messages import models_in
from .strict import Count, PluginConfig, Strict, one_of


class NetworkConfig(Strict):
    takes: ClassVar[tuple[Kind, ...]]
    """kinds of examples that the network takes"""

    def refuses(self, size: int) -> str | None:
        """Return the reason why images of this height and width [pixels] do not fit, or None if they do."""


Activation = Literal["gelu", "silu", "relu", "tanh"]


class MlpConfig(NetworkConfig):
    """Fully connected network for points and for images, which it flattens."""

    takes: ClassVar[tuple[Kind, ...]] = ("images", "points")
    implementation: ClassVar[str] = "centralflows.problems.networks.mlp:mlp"

    name: Literal["mlp"]
    width: Count = 256
    """units per hidden layer"""
    depth: Count = 2
    """hidden layers"""
    activation: Activation = "gelu"
    """activation of the hidden layers; relu is not smooth and causes a warning"""


class CnnConfig(NetworkConfig):
    """Two 3x3 convolutions with average pooling and one dense layer, for images."""

    takes: ClassVar[tuple[Kind, ...]] = ("images",)
    implementation: ClassVar[str] = "centralflows.problems.networks.cnn:cnn"

    name: Literal["cnn"]
    channels: Count = 32
    """channels of the first stage; the second has twice as many"""
    dense: Count = 128
    """units of the dense layer"""
    activation: Activation = "gelu"
    """activation of the convolutions and the dense layer; relu is not smooth and causes a warning"""

    def refuses(self, size):
        return f"images must be at least 4x4 (are {size}x{size})" if size < 4 else None


class ResNetConfig(NetworkConfig):
    """Residual network with group norm, for images."""

    takes: ClassVar[tuple[Kind, ...]] = ("images",)
    implementation: ClassVar[str] = "centralflows.problems.networks.resnet:ResNet"

    name: Literal["resnet"]
    blocks: Annotated[tuple[Count, ...], Field(min_length=1, max_length=8, strict=False)] = (3, 3, 3)
    """residual blocks per stage; every stage after the first halves the image and doubles the channels"""
    width: Count = 16
    """channels of the first stage, and number of groups of every norm"""
    activation: Activation = "gelu"
    """activation of the convolutions; relu is not smooth and causes a warning"""

    def refuses(self, size):
        least = 2 ** max(1, len(self.blocks) - 1)
        return f"images must be at least {least}x{least} (are {size}x{size})" if size < least else None


class VitConfig(NetworkConfig):
    """Simple vision transformer for images: square patches, fixed positions, encoder layers, mean over patches."""

    takes: ClassVar[tuple[Kind, ...]] = ("images",)
    implementation: ClassVar[str] = "centralflows.problems.networks.vit:Vit"

    name: Literal["vit"]
    patch: Count = 4
    """side of a patch [pixels]; must divide the side of the images"""
    width: Count = 64
    """model dimension d, a multiple of 4"""
    layers: Count = 4
    """encoder layers"""
    heads: Count = 8
    """attention heads"""
    head_width: Count = 64
    """dimension of each head"""
    hidden: Count = 256
    """units between the two linear maps of each feed-forward block"""
    activation: Activation = "gelu"
    """activation of the feed-forward blocks; relu is not smooth and causes a warning"""

    def mistakes(self) -> Iterator[str]:
        if self.width % 4:
            yield f"width: must be a multiple of 4 (got {self.width})"

    def refuses(self, size):
        return f"patches of {self.patch}x{self.patch} do not tile {size}x{size}" if size % self.patch else None


class TransformerConfig(NetworkConfig):
    """Decoder for sequences of symbols: causal self-attention, attention to the embedded input, feed-forward."""

    takes: ClassVar[tuple[Kind, ...]] = ("tokens",)
    implementation: ClassVar[str] = "centralflows.problems.networks.transformer:Transformer"

    name: Literal["transformer"]
    layers: Count = 4
    """decoder layers"""
    width: Count = 32
    """model dimension d"""
    heads: Count = 4
    """attention heads; the width must be a multiple of twice this number"""
    activation: Activation = "gelu"
    """activation of the feed-forward blocks; relu is not smooth and causes a warning"""

    def mistakes(self) -> Iterator[str]:
        if self.width % (2 * self.heads):
            yield f"width: must be a multiple of twice the heads ({2 * self.heads}) (got {self.width})"


class LstmConfig(NetworkConfig):
    """Long short-term memory (LSTM) for sequences of symbols."""

    takes: ClassVar[tuple[Kind, ...]] = ("tokens",)
    implementation: ClassVar[str] = "centralflows.problems.networks.lstm:Lstm"

    name: Literal["lstm"]
    layers: Count = 2
    """LSTM layers"""
    width: Count = 48
    """units of the embedding and of each layer"""


class MambaConfig(NetworkConfig):
    """Selective state-space network for sequences of symbols."""

    takes: ClassVar[tuple[Kind, ...]] = ("tokens",)
    implementation: ClassVar[str] = "centralflows.problems.networks.mamba:Mamba"

    name: Literal["mamba"]
    layers: Count = 2
    """state-space layers"""
    width: Count = 64
    """model dimension d"""
    state: Count = 16
    """states per channel"""
    expansion: Count = 2
    """channels of each layer, as a multiple of the width"""
    taps: Count = 4
    """length of the convolution of each layer [tokens]"""
    activation: Activation = "silu"
    """activation after the convolution and in the gate; relu is not smooth and causes a warning"""


class NetworkPluginConfig(NetworkConfig, PluginConfig):
    """A user-defined class or function that makes a `torch.nn.Module`. It is called with the remaining keys, and with
    those of the following that it accepts: `shape` (of one example), `outputs` (units), and for sequences `symbols` and
    `length`."""

    takes: ClassVar[tuple[Kind, ...]] = get_args(Kind)


AnyNetwork = one_of(
    MlpConfig, CnnConfig, ResNetConfig, VitConfig, TransformerConfig, LstmConfig, MambaConfig, NetworkPluginConfig
)


def networks_for(kind: Kind) -> list[str]:
    """Return the names of the built-in networks that take such examples."""
    networks = [network for network in models_in(AnyNetwork) if kind in network.takes]
    return [name for network in networks for name in get_args(network.model_fields["name"].annotation)]
