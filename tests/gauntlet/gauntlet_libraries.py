"""Networks of torchvision, timm and transformers, of small sizes and with random weights (see `cases`)."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from gauntlet_cases import CE, Problem, case, classification, images, tokens
from torch import nn

SIZE = 16


def vision(network: nn.Module, size: int = SIZE, n: int = 4) -> Problem:
    return classification(network.eval(), images(n, size))


def declare_torchvision() -> None:
    """Declare the two operators that torchvision expects when its kernels, built for another torch, do not load."""
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            library = torch.library.Library("torchvision", "FRAGMENT")
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            _KEPT.append(library)


_KEPT: list[Any] = []


def tv():
    declare_torchvision()
    import torchvision

    return torchvision.models


@case("torchvision ResNet", "torchvision", "warns", needs="torchvision")
def _():
    models = tv()

    class Narrow(models.resnet.ResNet):
        def _make_layer(self, block, planes, blocks, stride=1, dilate=False):
            return super()._make_layer(block, planes // 8, blocks, stride, dilate)

    network = Narrow(models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=3)
    network.fc = nn.Linear(64, 3)
    return vision(network, 32)


@case("torchvision ResNet, batch statistics", "torchvision", "warns", needs="torchvision")
def _():
    models = tv()
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        models.resnet.BasicBlock(8, 8),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 3),
    )
    return classification(network.train(), images(6, 8))


@case("torchvision VGG", "torchvision", "warns", needs="torchvision")
def _():
    models = tv()
    network = models.VGG(models.vgg.make_layers([8, "M", 16, "M"], batch_norm=True), num_classes=3)
    network.avgpool, network.classifier = nn.AdaptiveAvgPool2d(1), nn.Linear(16, 3)
    return vision(network)


@case("torchvision DenseNet", "torchvision", "warns", needs="torchvision")
def _():
    return vision(tv().DenseNet(4, (2, 2), 8, 2, num_classes=3), 32)


@case("torchvision MobileNetV2", "torchvision", "warns", needs="torchvision")
def _():
    setting = [[1, 8, 1, 1], [2, 8, 1, 2]]
    network = tv().MobileNetV2(num_classes=3, width_mult=0.25, inverted_residual_setting=setting, round_nearest=4)
    network.classifier = nn.Linear(1280, 3)
    return vision(network)


@case("torchvision MobileNetV3", "torchvision", "warns", needs="torchvision")
def _():
    models = tv()
    block = models.mobilenetv3.InvertedResidualConfig(8, 3, 16, 8, True, "HS", 2, 1, 1.0)
    return vision(models.MobileNetV3([block], last_channel=16, num_classes=3))


@case("torchvision EfficientNet", "torchvision", needs="torchvision")
def _():
    models = tv()
    block = models.efficientnet.MBConvConfig(2, 3, 2, 8, 8, 1)
    return vision(models.EfficientNet([block], dropout=0.0, num_classes=3, last_channel=16))


@case("torchvision ConvNeXt", "torchvision", needs="torchvision")
def _():
    models = tv()
    blocks = [models.convnext.CNBlockConfig(8, 16, 1), models.convnext.CNBlockConfig(16, None, 1)]
    return vision(models.ConvNeXt(blocks, num_classes=3, layer_scale=0.5), 32)


@case("torchvision ViT", "torchvision", needs="torchvision")
def _():
    network = tv().VisionTransformer(SIZE, 8, 1, 2, 16, 32, num_classes=3)
    nn.init.normal_(network.heads.head.weight, std=0.1)
    return vision(network)


@case("torchvision Swin", "torchvision", needs="torchvision")
def _():
    return vision(tv().SwinTransformer([4, 4], 8, [1, 1], [2, 2], [2, 2], num_classes=3, stochastic_depth_prob=0.0))


@case("torchvision ShuffleNetV2", "torchvision", "warns", needs="torchvision")
def _():
    return vision(tv().ShuffleNetV2([1, 1, 1], [24, 8, 16, 32, 32], num_classes=3), 32)


@case("torchvision SqueezeNet", "torchvision", "warns", needs="torchvision")
def _():
    fire = tv().squeezenet.Fire
    return vision(
        nn.Sequential(
            nn.Conv2d(3, 8, 3),
            nn.ReLU(inplace=True),
            fire(8, 4, 8, 8),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(16, 3),
        )
    )


TOKENS = {"img_size": SIZE, "patch_size": 8, "embed_dim": 16}
HEADS = {**TOKENS, "depth": 1, "num_heads": 2}
STAGES = {"dims": (8, 8, 16, 16), "depths": (1, 1, 1, 1)}
TIMM = {
    "ViT": ("vision_transformer", "VisionTransformer", HEADS, "runs"),
    "ViT, qk_norm": ("vision_transformer", "VisionTransformer", {**HEADS, "qk_norm": True}, "runs"),
    "MLP-Mixer": ("mlp_mixer", "MlpMixer", {**TOKENS, "num_blocks": 1}, "runs"),
    "DeiT": ("deit", "VisionTransformerDistilled", HEADS, "runs"),
    "CaiT": ("cait", "Cait", HEADS, "runs"),
    "BEiT": ("beit", "Beit", HEADS, "runs"),
    "ConvNeXt": ("convnext", "ConvNeXt", STAGES, "runs"),
    "PoolFormer": ("metaformer", "MetaFormer", STAGES, "warns"),
    "EdgeNeXt": ("edgenext", "EdgeNeXt", {**STAGES, "heads": (2, 2, 2, 2)}, "runs"),
}
for name, (module, kind, options, outcome) in TIMM.items():

    @case(f"timm {name}", "timm", outcome, needs="timm")
    def _(module=module, kind=kind, options=options):
        declare_torchvision()
        found = getattr(importlib.import_module(f"timm.models.{module}"), kind)
        return vision(found(num_classes=3, **options), SIZE if "img_size" in options else 32)


@case("timm ResNet", "timm", "warns", needs="timm")
def _():
    declare_torchvision()
    from timm.models.resnet import BasicBlock, ResNet

    return vision(ResNet(BasicBlock, (1, 1, 1, 1), num_classes=3, channels=(8, 8, 8, 8), stem_width=8), 32)


def language(kind: str, config: str, **options: Any) -> Problem:
    """A causal language model with its own loss, called as its users call it."""
    declare_torchvision()
    import transformers

    made = getattr(transformers, config)(vocab_size=11, bos_token_id=1, eos_token_id=2, pad_token_id=0, **options)
    network = getattr(transformers, kind)(made).eval()
    words = tokens(4, 5)
    problem = Problem(network, {"input_ids": words, "labels": words}, None, lambda outputs, _: outputs.loss)
    problem.loss = lambda network: network(input_ids=words, labels=words).loss
    return problem


SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
LANGUAGE = {
    "GPT-2": ("GPT2LMHeadModel", "GPT2Config", {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 8}, "runs"),
    "Llama": ("LlamaForCausalLM", "LlamaConfig", {**SMALL, "num_key_value_heads": 1}, "runs"),
    "Mistral": ("MistralForCausalLM", "MistralConfig", {**SMALL, "num_key_value_heads": 1}, "runs"),
    "GPT-NeoX": ("GPTNeoXForCausalLM", "GPTNeoXConfig", {**SMALL, "max_position_embeddings": 8}, "runs"),
    "Qwen2": ("Qwen2ForCausalLM", "Qwen2Config", {**SMALL, "num_key_value_heads": 1}, "runs"),
    "OPT": ("OPTForCausalLM", "OPTConfig", {
        "hidden_size": 16, "ffn_dim": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "word_embed_proj_dim": 16,
        "max_position_embeddings": 8}, "warns"),
    "Mamba": ("MambaForCausalLM", "MambaConfig", {"hidden_size": 16, "state_size": 4, "num_hidden_layers": 1}, "runs"),
    "Mixtral": ("MixtralForCausalLM", "MixtralConfig", {
        **SMALL, "num_key_value_heads": 1, "num_local_experts": 2, "num_experts_per_tok": 1}, "warns"),
}  # fmt: skip
for name, (kind, config, options, outcome) in LANGUAGE.items():
    case(f"transformers {name}", "transformers", outcome, needs="transformers")(
        lambda kind=kind, config=config, options=options: language(kind, config, **options)
    )


@case("transformers BERT, BatchEncoding", "transformers", needs="transformers")
def _():
    import transformers

    config = transformers.BertConfig(
        vocab_size=11, pad_token_id=0, max_position_embeddings=8, num_labels=3, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, **SMALL
    )  # fmt: skip
    network = transformers.BertForSequenceClassification(config).eval()
    words, mask = tokens(4, 5), torch.ones(4, 5, dtype=torch.long)
    words[:, 4], mask[:, 4] = 0, 0  # the last word is padding
    labels = torch.randint(0, 3, (4,))
    batch = transformers.BatchEncoding({"input_ids": words, "attention_mask": mask})
    problem = Problem(network, batch, labels, lambda outputs, t: CE(outputs.logits, t))
    problem.loss = lambda network: CE(network(input_ids=words, attention_mask=mask).logits, labels)
    return problem


@case("transformers T5", "transformers", "warns", needs="transformers")
def _():
    import transformers

    config = transformers.T5Config(
        vocab_size=11, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, dropout_rate=0.0, pad_token_id=0,
        decoder_start_token_id=0,
    )  # fmt: skip
    network = transformers.T5ForConditionalGeneration(config).eval()
    words, labels = tokens(4, 5), tokens(4, 3)
    problem = Problem(network, {"input_ids": words, "labels": labels}, None, lambda outputs, _: outputs.loss)
    problem.loss = lambda network: network(input_ids=words, labels=labels).loss
    return problem


@case("transformers ViT", "transformers", needs="transformers")
def _():
    import transformers

    config = transformers.ViTConfig(
        image_size=SIZE, patch_size=8, num_labels=3, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **SMALL
    )
    network = transformers.ViTForImageClassification(config).eval()
    pictures, labels = images(4, SIZE), torch.randint(0, 3, (4,))
    problem = Problem(network, {"pixel_values": pictures}, labels, lambda outputs, t: CE(outputs.logits, t))
    problem.loss = lambda network: CE(network(pixel_values=pictures).logits, labels)
    return problem
