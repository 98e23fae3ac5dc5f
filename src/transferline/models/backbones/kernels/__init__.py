"""Fused kernels for rows of real particles, on one thread of a CPU, in float32."""
