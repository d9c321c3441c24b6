"""Families that generate the frames of slices as videos: LFDM, ECHOPulse and EchoDiffusion, with their parts."""
