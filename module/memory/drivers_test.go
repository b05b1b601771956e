package memory

import (
	_ "github.com/lib/pq"
	_ "modernc.org/sqlite"
)
