package module

import (
	"github.com/foxcpp/maddy/framework/config"

	"maddy.example/checkhelo/module/heloname"
)

// declareLists adds the directives that extend or overrule the built-in lists of names.
func (s *settings) declareLists(cfg *config.Map) {
	ext := &s.extension
	cfg.Callback("provider", s.provider)
	cfg.StringList("dynamic_words", false, false, nil, &ext.DynamicWords)
	cfg.StringList("static_words", false, false, nil, &ext.StaticWords)
	cfg.StringList("reserved_tlds", false, false, nil, &ext.ReservedTLDs)
	cfg.StringList("not_reserved_tlds", false, false, nil, &ext.NotReserved)
}

// provider reads `provider NAME { helo SUFFIX...; ptr SUFFIX... }`.
func (s *settings) provider(_ *config.Map, node config.Node) error {
	if len(node.Args) != 1 || len(node.Children) == 0 {
		return config.NodeErr(node, "accepted: provider NAME { helo DOMAIN...; ptr DOMAIN... }")
	}
	p := heloname.Provider{Name: node.Args[0]}
	block := config.NewMap(nil, node)
	block.StringList("helo", false, true, nil, &p.Helo)
	block.StringList("ptr", false, true, nil, &p.PTR)
	if _, err := block.Process(); err != nil {
		return err
	}
	if err := (heloname.Extension{Providers: []heloname.Provider{p}}).Check(); err != nil {
		return config.NodeErr(node, "%v", err)
	}
	s.extension.Providers = append(s.extension.Providers, p)
	return nil
}

func (s *settings) applyLists(cfg *config.Map) error {
	ext := s.extension
	if len(ext.Providers)+len(ext.DynamicWords)+len(ext.StaticWords)+
		len(ext.ReservedTLDs)+len(ext.NotReserved) == 0 {
		return nil
	}
	checks := []struct {
		directive string
		heloname.Extension
	}{
		{"dynamic_words", heloname.Extension{DynamicWords: ext.DynamicWords}},
		{"static_words", heloname.Extension{StaticWords: ext.StaticWords}},
		{"reserved_tlds", heloname.Extension{ReservedTLDs: ext.ReservedTLDs}},
		{"not_reserved_tlds", heloname.Extension{NotReserved: ext.NotReserved}},
	}
	for _, part := range checks {
		if err := part.Check(); err != nil {
			return fault(cfg, part.directive, "%v", err)
		}
	}
	s.check.lists = heloname.DefaultLists().With(ext)
	return nil
}
