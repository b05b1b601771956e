// Command modzip packs the module in a folder as the go command does:
//
//	modzip FOLDER FILE
//
// "helocheck build" of a package takes its source from that file. The same
// folder gives the same bytes.
package main

import (
	"fmt"
	"os"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "modzip:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: modzip FOLDER FILE")
	}
	file, err := os.Create(args[1])
	if err != nil {
		return err
	}
	// The folder has a file VERSION; the zip needs some version in its names.
	named := module.Version{Path: "maddy.example/checkhelo", Version: "v0.0.0"}
	if err := zip.CreateFromDir(file, named, args[0]); err != nil {
		return err
	}
	return file.Close()
}
