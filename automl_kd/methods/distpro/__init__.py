"""DistPro: bi-level search of distillation pathways, then training under what it found."""
