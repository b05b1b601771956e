// Command helocheck is the operator's tool around the HELO check of Maddy.
package main

import (
	"os"

	"maddy.example/checkhelo/cmd/helocheck/app"
)

func main() {
	os.Exit(app.Main(os.Args, os.Stdout, os.Stderr))
}
