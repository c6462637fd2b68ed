"""Measurements that need a GPU and a real vLLM; `make bench` does not run them."""
