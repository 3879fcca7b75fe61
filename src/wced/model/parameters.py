"""How many parameters each part of a model has."""

from wced.model.modeling import WcedModel


def parameters_by_part(model: WcedModel) -> dict[str, int]:
    """Return the number of parameters of each part; together they are all of the model's, fixed buffers not counted.

    The `value encoder` includes the tokens of a zero and of a hidden value, `metadata` the CLS tokens that it is added
    to, the `heads` the projection of a contrast, and the `gene embedding` what else the input embedding has: vectors
    of genes, learned or given, the token of a hidden gene, states of genes, and the norm of the sum.
    """
    parts = dict.fromkeys(("gene embedding", "value encoder", "metadata", "backbone", "decoders", "heads"), 0)
    of_module = {"embedding": "gene embedding", "backbone": "backbone", "decoders": "decoders"}
    of_module |= {"label_heads": "heads", "projection": "heads"}
    of_embedding = {"value": "value encoder", "zero": "value encoder", "mask": "value encoder"}
    of_embedding |= {"cls": "metadata", "metadata": "metadata"}
    for name, parameter in model.named_parameters():
        module, inner = name.split(".")[:2]
        part = of_embedding.get(inner, of_module[module]) if module == "embedding" else of_module[module]
        parts[part] += parameter.numel()
    return parts
