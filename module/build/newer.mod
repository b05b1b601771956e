// What a custom Maddy takes in a newer version than Maddy asks for, and why.
// The module that the check is in stays at Maddy's own versions.
module github.com/foxcpp/maddy/newer

go 1.25.0

require (
	golang.org/x/net v0.55.0 // GO-2026-5026: idna takes xn-- labels that decode to ASCII
	golang.org/x/text v0.39.0 // GO-2026-5970: norm loops without end on invalid UTF-8
	google.golang.org/grpc v1.83.2 // GO-2026-6061, GO-2026-6348, GO-2026-6443
)
