"""DistPro: bi-level search of distillation pathways, then training under the found weights."""
