// Command nodriver links package memory and no database driver, as a Maddy built with the tag
// nosqlite3 does.
package main

import (
	"errors"
	"fmt"

	"maddy.example/checkhelo/module/memory"
)

func main() {
	_, err := memory.Open("sqlite3", "helo.db", nil)
	fmt.Println(errors.Is(err, memory.ErrNoDriver), err)
}
