"""The proxy benchmark: how well proxies rank architectures whose trained accuracy is known."""
