"""The files that pyiqa's metrics load, where pyiqa looks for them, and about how large they are.

pyiqa can't say what it will download before it does. The table was made by running its constructors with every way of
loading a file replaced by one that writes the name down (pyiqa 0.1.16). Importing pyiqa would take seconds, so the
planner reads the table.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from urllib.parse import quote

from benchmark.weights import Weights, clip_cache, hub_cache, snapshot_of, torch_cache

PYIQA_HUB = "chaofengc/IQA-PyTorch-Weights"
CLIP_SHA256 = {
    "RN50.pt": "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762",
    "ViT-B-32.pt": "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
    "ViT-L-14.pt": "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836",
}
RELEASES = {  # files of timm's and facexlib's that are no part of a hub
    "swin_base_patch4_window12_384_22kto1k.pth": "https://github.com/SwinTransformer/storage/releases/download/v1.0.0/",
    "detection_Resnet50_Final.pth": "https://github.com/xinntao/facexlib/releases/download/v0.1.0/",
}

# The kind says where a file lies: "iqa" in torch's cache under pyiqa/, "torch" under checkpoints/, "clip" in OpenAI
# CLIP's own cache, "torch-clip" in torch's cache under clip/, "hub" in the Hugging Face cache.
_RESNET, _VIT = "hub:timm/resnet50.a1_in1k", "hub:timm/vit_base_patch8_224.augreg2_in21k_ft_in1k"
_INCEPTION, _SWIN = "hub:timm/inception_resnet_v2.tf_in1k", "torch:swin_base_patch4_window12_384_22kto1k.pth"
_VGG, _FACES = "torch:vgg16-397923af.pth", "iqa:detection_Resnet50_Final.pth"
_ARNIQA = ("torch:resnet50-0676ba61.pth", "torch:ARNIQA.pth")
_QUALICLIP = ("torch-clip:RN50.pt", "iqa:QualiCLIP.pth")
_AFINE = ("clip:ViT-B-32.pt", "iqa:afine.pth")
_FGRESQ = ("hub:openai/clip-vit-base-patch16", "iqa:FGResQ_Degradation.pth", "iqa:FGResQ.pth")
FREE = [
    "ssim",
    "ssimc",
    "psnr",
    "psnry",
    "fsim",
    "ms_ssim",
    "vif",
    "gmsd",
    "nlpd",
    "vsi",
    "cw_ssim",
    "mad",
    "piqe",
    "entropy",
]  # nothing is loaded for these
LOADED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(FREE, ()),
    "ahiq": (_RESNET, _VIT, "iqa:AHIQ_vit_p8_epoch33-da3ea303.pth"),
    "ckdn": ("torch:resnet50-19c8e357.pth", "iqa:CKDN_model_best-38b27dc6.pth"),
    "lpips": ("torch:alexnet-owt-7be5be79.pth", "iqa:LPIPS_v0.1_alex-df73285e.pth"),
    "lpips+": ("torch:alexnet-owt-7be5be79.pth", "iqa:LPIPS_v0.1_alex-df73285e.pth"),
    "lpips-vgg": (_VGG, "iqa:LPIPS_v0.1_vgg-a78928a0.pth"),
    "lpips-vgg+": (_VGG, "iqa:LPIPS_v0.1_vgg-a78928a0.pth"),
    "stlpips": ("iqa:alex_shift_tolerant.pth",),
    "stlpips-vgg": ("iqa:vgg_shift_tolerant.pth",),
    "dists": (_VGG, "iqa:DISTS_weights-f5e65c96.pth"),
    "deepdc": ("torch:vgg19-dcbb9e9d.pth",),
    "niqe": ("iqa:niqe_modelparameters.mat",),
    "niqe_matlab": ("iqa:niqe_matlab_params.mat",),
    "ilniqe": ("iqa:ILNIQE_templateModel.mat",),
    "brisque": ("iqa:brisque_svm_weights.pth",),
    "brisque_matlab": ("iqa:brisque_matlab.mat",),
    "nrqm": ("iqa:NRQM_model.mat",),
    "pi": ("iqa:NRQM_model.mat", "iqa:niqe_modelparameters.mat"),
    "cnniqa": ("iqa:CNNIQA_koniq10k-e6f14c91.pth",),
    "musiq": ("iqa:musiq_koniq_ckpt-e95806b9.pth",),
    "musiq-ava": ("iqa:musiq_ava_ckpt-e8d3f067.pth",),
    "musiq-paq2piq": ("iqa:musiq_paq2piq_ckpt-364c0c84.pth",),
    "musiq-spaq": ("iqa:musiq_spaq_ckpt-358bb6af.pth",),
    "nima": (_INCEPTION, "iqa:NIMA_InceptionV2_ava-b0c77c00.pth"),
    "nima-koniq": (_INCEPTION, "iqa:NIMA_koniq-250367ae.pth"),
    "nima-spaq": (_INCEPTION, "iqa:NIMA-spaq-46a7fcb7.pth"),
    "nima-vgg16-ava": ("hub:timm/vgg16.tv_in1k", "iqa:NIMA_VGG16_ava-dc4e8265.pth"),
    "pieapp": ("iqa:PieAPPv0.1-0937b014.pth",),
    "paq2piq": ("torch:resnet18-f37072fd.pth", "iqa:P2P_RoIPoolModel-fit.10.bs.120-ca69882e.pth"),
    "dbcnn": (_VGG, "iqa:DBCNN_scnn-7ea73d75.pth", "iqa:DBCNN_KonIQ10k-2de81c0a.pth"),
    "maniqa": (_VIT, "iqa:ckpt_koniq10k.pt"),
    "maniqa-pipal": (_VIT, "iqa:MANIQA_PIPAL-ae6d356b.pth"),
    "maniqa-kadid": (_VIT, "iqa:ckpt_kadid10k.pt"),
    "clipiqa": ("torch-clip:RN50.pt",),
    "clipiqa+": ("torch-clip:RN50.pt", "iqa:CLIP-IQA+_learned_prompts-603f3273.pth"),
    "clipiqa+_vitL14_512": ("torch-clip:ViT-L-14.pt", "iqa:CLIPIQA+_ViTL14_512-e66488f2.pth"),
    "clipiqa+_rn50_512": ("torch-clip:RN50.pt", "iqa:CLIPIQA+_RN50_512-89f5d940.pth"),
    "fgresq": _FGRESQ,
    "tres": ("torch:resnet50-0676ba61.pth", "iqa:tres_koniq-f0502926.pth"),
    "tres-flive": ("torch:resnet50-0676ba61.pth", "iqa:tres_flive-09b0de5b.pth"),
    "hyperiqa": (_RESNET, "iqa:HyperIQA-resnet50-koniq10k-c96c41b1.pth"),
    "metaiqa": ("iqa:Metaiqa_livec.pth",),
    "uranker": ("iqa:URanker_ckpt-450eb36d.pth",),
    "clipscore": ("clip:ViT-B-32.pt",),
    "topiq_nr": (_RESNET, "iqa:cfanet_nr_koniq_res50-9a73138b.pth"),
    "topiq_nr-flive": (_RESNET, "iqa:cfanet_nr_flive_res50-ded1c74e.pth"),
    "topiq_nr-spaq": (_RESNET, "iqa:cfanet_nr_spaq_res50-a7f799ac.pth"),
    "topiq_nr-face": (_RESNET, "iqa:topiq_nr_cgfiqa_res50-0a8b8e4f.pth", _FACES),
    "topiq_nr-face-v1": (_RESNET, "iqa:topiq_nr_gfiqa_res50-d76bf1ae.pth", _FACES),
    "topiq_nr_swin-face": (_SWIN, "iqa:topiq_nr_gfiqa_swin-7bb80a60.pth", _FACES),
    "topiq_fr": (_RESNET, "iqa:cfanet_fr_kadid_res50-2c4cc61d.pth"),
    "topiq_fr-pipal": (_RESNET, "iqa:cfanet_fr_pipal_res50-69bbe5ba.pth"),
    "topiq_iaa": (_SWIN, "iqa:cfanet_iaa_ava_swin-393b41b4.pth"),
    "topiq_iaa_res50": (_RESNET, "iqa:cfanet_iaa_ava_res50-3cd62bb3.pth"),
    "laion_aes": ("clip:ViT-L-14.pt", "iqa:sac+logos+ava1-l14-linearMSE.pth"),
    "liqe": ("torch-clip:ViT-B-32.pt", "iqa:liqe_koniq.pt"),
    "liqe_mix": ("torch-clip:ViT-B-32.pt", "iqa:liqe_mix.pt"),
    "wadiqam_fr": ("iqa:WaDIQaM-kadid-f7541ea5.pth",),
    "wadiqam_nr": ("iqa:WaDIQaM-NR-koniq-aaffea29.pth",),
    **dict.fromkeys(("qalign", "qalign_8bit", "qalign_4bit"), ("hub:q-future/one-align",)),
    **dict.fromkeys(("qrealign", "qrealign-mini"), ("hub:q-future/Q-ReAlign-Mini-0.8B",)),
    "qrealign-lite": ("hub:q-future/Q-ReAlign-Lite-4B",),
    "qrealign-pro": ("hub:q-future/Q-ReAlign-Pro-9B",),
    "compare2score": ("hub:q-future/Compare2Score",),
    "unique": ("torch:resnet34-b627a593.pth", "iqa:UNIQUE.pt"),
    "arniqa": (*_ARNIQA, "iqa:regressor_koniq10k.pth"),
    "arniqa-live": (*_ARNIQA, "iqa:regressor_live.pth"),
    "arniqa-csiq": (*_ARNIQA, "iqa:regressor_csiq.pth"),
    "arniqa-tid": (*_ARNIQA, "iqa:regressor_tid2013.pth"),
    "arniqa-kadid": (*_ARNIQA, "iqa:regressor_kadid10k.pth"),
    "arniqa-clive": (*_ARNIQA, "iqa:regressor_clive.pth"),
    "arniqa-flive": (*_ARNIQA, "iqa:regressor_flive.pth"),
    "arniqa-spaq": (*_ARNIQA, "iqa:regressor_spaq.pth"),
    "msswd": ("iqa:msswd_weights.pth",),
    "dmm": (_VGG,),
    "maclip": ("torch-clip:RN50.pt",),
    "qualiclip": _QUALICLIP,
    "qualiclip+": (*_QUALICLIP, "iqa:QualiCLIP+_koniq.pth"),
    "qualiclip+-clive": (*_QUALICLIP, "iqa:QualiCLIP+_clive.pth"),
    "qualiclip+-flive": (*_QUALICLIP, "iqa:QualiCLIP+_flive.pth"),
    "qualiclip+-spaq": (*_QUALICLIP, "iqa:QualiCLIP+_spaq.pth"),
    **dict.fromkeys(("afine_nr", "afine_fr", "afine_all", "afine_all_scale"), _AFINE),
}

# Megabytes by the beginning of a name, the longest that fits: parameters of the network times four bytes, as saved.
SIZES_MB = {
    "LPIPS": 0.01, "DISTS": 0.02, "alexnet": 244, "vgg16": 553, "vgg19": 575, "resnet18": 47, "resnet34": 87, "resnet50": 103,
    "RN50": 256, "ViT-B-32": 354, "ViT-L-14": 933, "swin_base": 367, "timm/resnet50": 102, "timm/vit_base": 346,
    "timm/inception_resnet_v2": 224, "timm/vgg16": 553, "musiq": 109, "AHIQ": 557, "CKDN": 54, "alex_shift": 10,
    "vgg_shift": 59, "CNNIQA": 3, "NIMA": 218, "NIMA_VGG16": 59, "PieAPP": 274, "P2P": 47, "DBCNN": 61, "DBCNN_scnn": 6,
    "ckpt_": 543, "MANIQA": 543, "tres": 610, "HyperIQA": 110, "Metaiqa": 53, "URanker": 127, "cfanet_nr": 181,
    "cfanet_fr": 144, "cfanet_iaa_ava_swin": 507, "cfanet_iaa_ava_res50": 294, "sac+": 4, "liqe": 605, "UNIQUE": 89,
    "WaDIQaM": 25, "msswd": 0.2, "CLIPIQA+": 0.5, "ARNIQA": 94,
}  # fmt: skip


def weights_of(metric: str) -> Iterator[Weights]:
    """Yield what pyiqa's `metric` loads with its own defaults; nothing for a metric that is not in the table."""
    for kind, name in (loaded.split(":", 1) for loaded in LOADED.get(metric, ())):
        yield _weights(metric, kind, name)


def _weights(metric: str, kind: str, name: str) -> Weights:
    size = SIZES_MB.get(max((start for start in SIZES_MB if name.startswith(start)), key=len, default=""))
    if kind == "hub":
        place = snapshot_of(name) or hub_cache() / f"models--{name.replace('/', '--')}"
        files = ("model.safetensors",) if name.startswith("timm/") else ()
        return Weights(metric, place, size, repository=name, files=files)
    if kind in ("clip", "torch-clip"):
        digest = CLIP_SHA256[name]
        folder = clip_cache() if kind == "clip" else torch_cache() / "clip"
        url = f"https://openaipublic.azureedge.net/clip/models/{digest}/{name}"
        return Weights(metric, folder / name, size, url, digest)
    hub = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    on_the_hub = f"{hub.rstrip('/')}/{PYIQA_HUB}/resolve/main/{quote(name)}"
    if kind == "torch":
        url = RELEASES.get(name, "https://download.pytorch.org/models/") + name
        path = torch_cache() / "checkpoints" / name
        return Weights(metric, path, size, on_the_hub if name == "ARNIQA.pth" else url)
    url = RELEASES[name] + name if name in RELEASES else on_the_hub
    return Weights(
        metric, torch_cache() / "pyiqa" / quote(name), size, url
    )  # pyiqa keeps the URL's %2B in its file names
