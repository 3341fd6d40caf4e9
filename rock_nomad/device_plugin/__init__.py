"""A Nomad device plugin: NVIDIA GPUs by NVML, with their health, or simulated ones.

Stands alone: Nomad starts it, and it imports nothing of ours outside this package.
"""
