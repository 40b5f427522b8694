"""Networks for images of some 224 pixels, whose maps shrink 32-fold. They run at any size."""
