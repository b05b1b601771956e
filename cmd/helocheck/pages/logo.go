package pages

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
)

// maxLogo is the largest logo taken, in octets.
const maxLogo = 1 << 20

// readLogo returns a logo and the name that it gets in the site, by content
// and not by the name that it has.
func readLogo(path string) (name string, data []byte, err error) {
	file, err := os.Open(path)
	if err != nil {
		return "", nil, err
	}
	defer file.Close()
	data, err = io.ReadAll(io.LimitReader(file, maxLogo+1))
	switch {
	case err != nil:
		return "", nil, err
	case len(data) > maxLogo:
		return "", nil, fmt.Errorf("logo %s: more than %d octets", path, maxLogo)
	case bytes.HasPrefix(data, []byte("\x89PNG\r\n\x1a\n")):
		return "logo.png", data, nil
	case bytes.HasPrefix(data, []byte("\xff\xd8\xff")):
		return "logo.jpg", data, nil
	case isSVG(data):
		return "logo.svg", data, nil
	}
	return "", nil, fmt.Errorf("logo %s: accepted: PNG, JPEG, SVG", path)
}

// isSVG tells whether data is well-formed XML with the root element svg.
func isSVG(data []byte) bool {
	dec := xml.NewDecoder(bytes.NewReader(data))
	root := ""
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return root == "svg"
		}
		if err != nil {
			return false
		}
		if start, ok := token.(xml.StartElement); ok && root == "" {
			root = start.Name.Local
		}
	}
}
