// Command helocheck is the operator's tool around the HELO check of Maddy.
package main

import (
	"os"

	_ "github.com/lib/pq" // the drivers of command memory, as Maddy links them
	_ "modernc.org/sqlite"

	"maddy.example/checkhelo/cmd/helocheck/app"
)

func main() {
	os.Exit(app.Main(os.Args, os.Stdout, os.Stderr))
}
