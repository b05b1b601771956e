package pages

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/docs"
)

// rule makes the page of a rule; its Text is about all servers.
func (s *site) rule(r *checkhelo.Rule, say string) (p view, err error) {
	p = view{Name: r.Name, Code: code(r), Reply: reply(r, r.Message), Say: say, Group: "GroupName"}
	switch r.Needs & (checkhelo.NeedForward | checkhelo.NeedPTR) { // both: proof of a name
	case checkhelo.NeedPTR:
		p.Group = "GroupReverse"
	case checkhelo.NeedForward:
		p.Group = "GroupRecords"
	}
	p.Lang, err = s.find(func(files fs.FS) (err error) {
		p.Page, err = docs.Rule(files, r.Name)
		return err
	})
	if err != nil {
		return p, err
	}
	p.Title = plain(p.Summary)
	if text := r.Program; text != "" {
		p.Program = reply(r, text)
	}
	intro, servers, found := strings.Cut("\n"+p.Fix, "\n### ")
	if p.Intro = intro; found {
		servers = "### " + servers
	}
	p.Text, err = s.Render(servers)
	return p, err
}

// reply is the answer of a server to a sender, but for the help address.
func reply(r *checkhelo.Rule, message string) string {
	message = strings.NewReplacer("{helo}", "…", "{problem}", "…", "{rule}", r.Name, "{url}", "").
		Replace(message)
	message = strings.TrimSuffix(strings.TrimSpace(message), ". See")
	return code(r) + " " + message
}

func code(r *checkhelo.Rule) string {
	return fmt.Sprintf("%d %d.%d.%d", r.Code, r.Code/100, r.Detail[0], r.Detail[1])
}

// fragments returns for each rule the parts of its replies by which the search knows it, in lower
// case and joined with "|": those that no other text has. Rules with the same text share its parts.
func fragments(table []checkhelo.Rule) map[string]string {
	texts, count := make(map[string]bool), make(map[string]int)
	for i := range table {
		texts[table[i].Message], texts[table[i].Program] = true, true
	}
	for text := range texts {
		for _, part := range partsOf(text) {
			count[part]++
		}
	}
	joined := make(map[string]string, len(table))
	shared := func(part string) bool { return count[part] > 1 }
	for i := range table {
		r := &table[i]
		own := slices.DeleteFunc(partsOf(r.Message+"|"+r.Program), shared)
		joined[r.Name] = strings.Join(own, "|")
	}
	return joined
}

var placeholders = strings.NewReplacer("{helo}", "|", "{problem}", "|", "{rule}", "|", "{url}", "|",
	". ", "|")

// partsOf cuts a reply at what differs from one to the next.
func partsOf(message string) (parts []string) {
	for part := range strings.SplitSeq(placeholders.Replace(strings.ToLower(message)), "|") {
		part = strings.Trim(part, ` "().`)
		if len(part) >= len("is on a block list") && !slices.Contains(parts, part) {
			parts = append(parts, part)
		}
	}
	return parts
}
