"""Hosted pages: what buyers and sellers of partners see of Earnest."""
