"""Results on disk: rows, curves and scores as Parquet, in the folder of one experiment."""
