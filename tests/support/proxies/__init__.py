"""Proxies on both sides of the product: before it, behind it, and one that dies on purpose."""
