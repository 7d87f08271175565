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
    """kinds of examples that it can be built for"""

    def refuses(self, size: int) -> str | None:
        """Why images of this height and width [pixels] do not fit, if they do not."""


Activation = Literal["gelu", "silu", "relu", "tanh"]


class MlpConfig(NetworkConfig):
    """Fully connected network. It takes images, which it flattens, and points."""

    takes: ClassVar[tuple[Kind, ...]] = ("images", "points")
    implementation: ClassVar[str] = "centralflows.problems.networks.mlp:mlp"

    name: Literal["mlp"]
    width: Count = 256
    """units per hidden layer"""
    depth: Count = 2
    """hidden layers"""
    activation: Activation = "gelu"
    """of the hidden layers; relu is not smooth, and warned of"""


class CnnConfig(NetworkConfig):
    """Two 3x3 convolutions with average pooling, one dense layer. It takes images."""

    takes: ClassVar[tuple[Kind, ...]] = ("images",)
    implementation: ClassVar[str] = "centralflows.problems.networks.cnn:cnn"

    name: Literal["cnn"]
    channels: Count = 32
    """channels of the first stage; the second has twice as many"""
    dense: Count = 128
    """units of the dense layer"""
    activation: Activation = "gelu"
    """of convolutions and dense layer; relu is not smooth, and warned of"""

    def refuses(self, size):
        return f"images must be at least 4x4 (are {size}x{size})" if size < 4 else None


class ResNetConfig(NetworkConfig):
    """Residual network with group norm. It takes images."""

    takes: ClassVar[tuple[Kind, ...]] = ("images",)
    implementation: ClassVar[str] = "centralflows.problems.networks.resnet:ResNet"

    name: Literal["resnet"]
    blocks: Annotated[tuple[Count, ...], Field(min_length=1, max_length=8, strict=False)] = (3, 3, 3)
    """residual blocks of each stage; every stage after the first halves the image and doubles the channels"""
    width: Count = 16
    """channels of the first stage, and groups of every norm"""
    activation: Activation = "gelu"
    """of the convolutions; relu is not smooth, and warned of"""

    def refuses(self, size):
        least = 2 ** max(1, len(self.blocks) - 1)
        return f"images must be at least {least}x{least} (are {size}x{size})" if size < least else None


class VitConfig(NetworkConfig):
    """Simple vision transformer: square patches, fixed positions, encoder layers, mean over patches. It takes images."""

    takes: ClassVar[tuple[Kind, ...]] = ("images",)
    implementation: ClassVar[str] = "centralflows.problems.networks.vit:Vit"

    name: Literal["vit"]
    patch: Count = 4
    """side of a patch [pixels]; it divides that of the images"""
    width: Count = 64
    """model dimension d, a multiple of 4"""
    layers: Count = 4
    """encoder layers"""
    heads: Count = 8
    """attention heads"""
    head_width: Count = 64
    """dimension of a head"""
    hidden: Count = 256
    """units between the two linear maps of a feed-forward part"""
    activation: Activation = "gelu"
    """of the feed-forward parts; relu is not smooth, and warned of"""

    def mistakes(self) -> Iterator[str]:
        if self.width % 4:
            yield f"width: must be a multiple of 4 (got {self.width})"

    def refuses(self, size):
        return f"patches of {self.patch}x{self.patch} do not tile {size}x{size}" if size % self.patch else None


class TransformerConfig(NetworkConfig):
    """Decoder on sequences of symbols: causal self-attention, attention to the embedded input, feed-forward."""

    takes: ClassVar[tuple[Kind, ...]] = ("tokens",)
    implementation: ClassVar[str] = "centralflows.problems.networks.transformer:Transformer"

    name: Literal["transformer"]
    layers: Count = 4
    """decoder layers"""
    width: Count = 32
    """model dimension d"""
    heads: Count = 4
    """attention heads; the width is a multiple of twice as many"""
    activation: Activation = "gelu"
    """of the feed-forward parts; relu is not smooth, and warned of"""

    def mistakes(self) -> Iterator[str]:
        if self.width % (2 * self.heads):
            yield f"width: must be a multiple of twice the heads ({2 * self.heads}) (got {self.width})"


class LstmConfig(NetworkConfig):
    """Long short-term memory on sequences of symbols."""

    takes: ClassVar[tuple[Kind, ...]] = ("tokens",)
    implementation: ClassVar[str] = "centralflows.problems.networks.lstm:Lstm"

    name: Literal["lstm"]
    layers: Count = 2
    """memory layers"""
    width: Count = 48
    """units of the embedding and of every layer"""


class MambaConfig(NetworkConfig):
    """Selective state-space network on sequences of symbols."""

    takes: ClassVar[tuple[Kind, ...]] = ("tokens",)
    implementation: ClassVar[str] = "centralflows.problems.networks.mamba:Mamba"

    name: Literal["mamba"]
    layers: Count = 2
    """state-space layers"""
    width: Count = 64
    """model dimension d"""
    state: Count = 16
    """states of each channel"""
    expansion: Count = 2
    """channels of a layer, in widths"""
    taps: Count = 4
    """tokens that the convolution of a layer sees"""
    activation: Activation = "silu"
    """after the convolution and in the gate; relu is not smooth, and warned of"""


class NetworkPluginConfig(NetworkConfig, PluginConfig):
    """A class or function of your own that makes a `torch.nn.Module`, called with the keys that follow and with what it
    takes of `shape` (of one example), `outputs` (units), and for sequences `symbols` and `length`."""

    takes: ClassVar[tuple[Kind, ...]] = get_args(Kind)


AnyNetwork = one_of(
    MlpConfig, CnnConfig, ResNetConfig, VitConfig, TransformerConfig, LstmConfig, MambaConfig, NetworkPluginConfig
)


def networks_for(kind: Kind) -> list[str]:
    """Names of the networks of this package that take such examples."""
    networks = [network for network in models_in(AnyNetwork) if kind in network.takes]
    return [name for network in networks for name in get_args(network.model_fields["name"].annotation)]
