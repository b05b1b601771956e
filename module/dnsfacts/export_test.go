package dnsfacts

// UnderWay returns the questions in flight, the networks with a question or a job,
// and the jobs ahead of their verdict.
func (g *Gatherer) UnderWay() (questions, networks, jobs int) {
	g.shares.mu.Lock()
	defer g.shares.mu.Unlock()
	return g.shares.asking, len(g.shares.networks), g.shares.jobs
}
