"""Proofs of the durability promises that anybody can run: `tawny selftest`."""
