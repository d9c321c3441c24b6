"""Systems that paint the frames of a slice: LFDM, ECHOPulse and EchoDiffusion with their parts."""
