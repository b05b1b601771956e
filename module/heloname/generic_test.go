package heloname

import (
	"encoding/hex"
	"fmt"
	"testing"
)

func TestGenericPTR(t *testing.T) {
	const v6 = "2001:db8:7:1a::25"
	for _, tc := range []struct {
		ptr, client   string
		shows, rented bool
	}{
		// three neighbouring octets
		{"192-0-2.example.net", "192.0.2.77", true, false},
		{"192-0-2-77.dyn.isp.example", "192.0.2.77", true, true},
		{"192-0-2-77.dyn.isp.example", "::ffff:192.0.2.77", true, true},
		{"192-0-2-77.dyn.isp.example", "64:ff9b::192.0.2.77", true, true},
		{"0-2-77.example.net", "192.0.2.77", true, false},
		{"77.2.0.example.net", "192.0.2.77", true, false},
		{"a2b0c192.example.net", "192.0.2.77", true, false},
		{"host-000-002-077.example.net", "192.0.2.77", true, true},
		{"ns502.ip-192-0-2.eu", "192.0.2.77", true, false},
		{"1.77-2-0-192-5.example.net", "192.0.2.77", true, false},
		{"192-0-77.example.net", "192.0.2.77", false, false},
		{"2-192-0.example.net", "192.0.2.77", false, false},
		{"192-0.example.net", "192.0.2.77", false, false},
		{"192-0-20.example.net", "192.0.2.77", false, false},
		{"192-0-0002.example.net", "192.0.2.77", false, false},
		{"192-1-0-2.example.net", "192.0.2.77", false, false},
		// digits without separators
		{"x192000002077.example.net", "192.0.2.77", true, false},
		{"5077002000192.example.net", "192.0.2.77", true, false},
		{"192000002078.example.net", "192.0.2.77", false, false},
		{"vps-ac000024d.example.net", "192.0.2.77", true, true},
		{"h4d0200c0f.example.net", "192.0.2.77", true, false},
		{"c000024e.example.net", "192.0.2.77", false, false},
		{"198511002.example.net", "198.51.100.2", true, false},
		// IPv6
		{"2001-0db8-0007-001a-x.example.net", v6, true, false},
		{"h20010db80007001a.example.net", v6, true, false},
		{"a1007000.8bd01002.example.net", v6, true, false},
		{"2001-db8-7-1a--25.example.net", v6, true, false},
		{"20010db80007001.example.net", v6, false, false},
		{"20010db80007002a.example.net", v6, false, false},
		{"0000000000000025.example.net", v6, false, false}, // too few different digits
		{"192-0-2-77.example.net", v6, false, false},
		// rented machines and lines
		{"vps-1234.example.net", "192.0.2.77", false, true},
		{"vm5.pool.example.net", "192.0.2.77", false, true},
		{"a1.customer.example.net", v6, false, true},
		{"unused.a4.example.net", "192.0.2.77", false, true},
		{"vps.example.net", "192.0.2.77", false, false}, // no digit
		{"vpsa1.example.net", "192.0.2.77", false, false},
		{"mail1.example.net", "192.0.2.77", false, false},
		{"mx-out-7.example.net", "192.0.2.77", false, false},
		{"vps1.example.net", "", false, true},
		{"192-0-2.example.net", "", false, false},
		{"", "192.0.2.77", false, false},
	} {
		client := addr(tc.client)
		if got := ShowsAddr(tc.ptr, client); got != tc.shows {
			t.Errorf("ShowsAddr(%q, %s) = %v", tc.ptr, tc.client, got)
		}
		if got := DefaultLists().rented(tc.ptr); got != tc.rented {
			t.Errorf("rented(%q) = %v", tc.ptr, got)
		}
		if got := (*Lists)(nil).GenericPTR(tc.ptr, client); got != (tc.shows || tc.rented) {
			t.Errorf("GenericPTR(%q, %s) = %v", tc.ptr, tc.client, got)
		}
	}
}

// TestShowsRandom: what EmbedsAddr finds ShowsAddr finds too, it finds half an
// address, and it does not find a random other one.
func TestShowsRandom(t *testing.T) {
	r := random()
	for range rounds {
		four, six := randomAddr(r, 4), randomAddr(r, 16)
		b, c := four.As4(), six.As16()
		half := hex.EncodeToString(c[4:12])
		for _, s := range []string{
			fmt.Sprintf("%d-%d-%d", b[0], b[1], b[2]), fmt.Sprintf("x%d.%d.%d", b[3], b[2], b[1]),
			fmt.Sprintf("%d-%d-%d-isp", b[2], b[1], b[0]), "ab" + hex.EncodeToString(b[:]) + "cd",
		} {
			if !ShowsAddr(s+".example.net", four) {
				t.Fatalf("%s is not found in %s", four, s)
			}
		}
		if enough := countDigits(half) >= minNibbles; ShowsAddr("x-"+half, six) != enough && enough {
			t.Fatalf("%s is not found in %s", six, half)
		}
		other := randomAddr(r, 16)
		for _, s := range spellings6(six) {
			if !ShowsAddr(s, six) {
				t.Fatalf("%s is not found in %s", six, s)
			}
			if digitsOf(other) != digitsOf(six) && ShowsAddr(s, other) {
				t.Fatalf("%s is found in %s", other, s)
			}
		}
	}
}

func countDigits(s string) int {
	seen := map[rune]bool{}
	for _, c := range s {
		seen[c] = true
	}
	return len(seen)
}
