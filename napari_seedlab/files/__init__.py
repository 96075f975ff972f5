"""Durable files, hashed arrays and where voxels lie."""
