"""Stable Diffusion, resident: keyframes by img2img, holes by inpainting."""
