"""Addresses: `get_node_ip_address`, from where programs for older versions of Ray import it."""

from minray.util.named import get_node_ip_address

__all__ = ["get_node_ip_address"]
