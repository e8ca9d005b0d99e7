"""The models: painters, flows, detectors, warping, composing, measures. Arrays in, arrays out."""
