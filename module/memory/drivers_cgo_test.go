//go:build cgo

package memory

import _ "github.com/mattn/go-sqlite3"
