package main

import "math"

// wilson returns the upper end of Wilson's score interval at 95 %, two-sided.
func wilson(share, total float64) float64 {
	const z = 1.959964 // of the normal distribution
	spread := z * math.Sqrt(share*(1-share)/total+z*z/(4*total*total))
	return (share + z*z/(2*total) + spread) / (1 + z*z/total)
}
