package replay

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Size returns how many bytes Read would deal with for paths, for a progress
// bar: -1 when one of them has no size (standard input, a pipe).
func Size(paths []string) (int64, error) {
	var sum int64
	for _, p := range paths {
		if p == "-" {
			return -1, nil
		}
		open := false
		err := walkPath(p, func(_ string, info fs.FileInfo) error {
			open = open || !info.Mode().IsRegular()
			sum += info.Size()
			return nil
		}, nil)
		if err != nil {
			return 0, err
		}
		if open {
			return -1, nil
		}
	}
	return sum, nil
}

// walk reads every path in turn.
func (r *run) walk(paths []string) error {
	r.several = len(paths) > 1
	for _, p := range paths {
		if info, err := os.Stat(p); p != "-" && err != nil {
			return fmt.Errorf("replay: %w", err)
		} else if p != "-" {
			r.several = r.several || info.IsDir()
		}
	}
	for _, p := range paths {
		var err error
		if p == "-" {
			err = r.readStdin()
		} else {
			err = walkPath(p, r.readFile, r.unreadable)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// walkPath calls read for a file, or for every regular file below a directory.
// A file named by the operator may be anything that can be read, a pipe too.
// What cannot be entered below p goes to fault; nil drops it.
func walkPath(
	p string, read func(string, fs.FileInfo) error, fault func(string, error),
) error {
	info, err := os.Stat(p)
	if err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	if !info.IsDir() {
		return read(p, info)
	}
	// A link to a directory is followed when the operator names it.
	if target, linkErr := filepath.EvalSymlinks(p); linkErr == nil {
		p = target
	}
	w := walker{read: read, fault: fault, mails: make(map[string]bool)}
	return filepath.WalkDir(p, w.visit)
}

// walker reads the files below one directory.
type walker struct {
	read  func(string, fs.FileInfo) error
	fault func(string, error) // hears of what cannot be entered; nil: nobody
	mails map[string]bool     // Maildirs met
}

func (w *walker) visit(name string, d fs.DirEntry, err error) error {
	if err != nil {
		if w.fault != nil {
			w.fault(name, err)
		}
		return nil
	}
	dir := filepath.Dir(name)
	if d.IsDir() {
		if isMaildir(name) {
			w.mails[name] = true
		}
		if w.mails[dir] && d.Name() == "tmp" {
			return fs.SkipDir
		}
		return nil
	}
	// Beside cur and new a Maildir holds indexes, not mail.
	if !d.Type().IsRegular() || w.mails[dir] {
		return nil
	}
	info, err := d.Info()
	if errors.Is(err, fs.ErrNotExist) {
		return nil // moved from new to cur, or expunged, meanwhile
	}
	if err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	return w.read(name, info)
}

func isMaildir(dir string) bool {
	for _, sub := range []string{"cur", "new"} {
		if info, err := os.Stat(filepath.Join(dir, sub)); err != nil || !info.IsDir() {
			return false
		}
	}
	return true
}

// unreadable notes an input that could not be opened.
func (r *run) unreadable(name string, err error) {
	r.st.Inputs++
	r.fault(name, err, false)
}

// readFile reads one named file.
func (r *run) readFile(name string, info fs.FileInfo) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	f, err := os.Open(name)
	if err != nil {
		r.unreadable(name, err)
		return nil
	}
	defer f.Close()
	r.setNow(info.ModTime())
	if !info.Mode().IsRegular() {
		return r.readPipe(name, f)
	}
	start := r.st.Bytes
	err = r.readInput(name, f)
	if err == nil {
		// The body of a single mail is not read, yet dealt with.
		r.count(max(0, info.Size()-(r.st.Bytes-start)))
	}
	return err
}

// setNow fixes the latest moment that a line of the coming input can be from.
func (r *run) setNow(at time.Time) {
	if r.opt.Now.IsZero() {
		r.stamp.now, r.stamp.text = at, ""
	}
}

func (r *run) readStdin() error {
	in := r.opt.Stdin
	if in == nil {
		in = os.Stdin
	}
	r.setNow(time.Now())
	return r.readPipe("standard input", in)
}

// readPipe reads what may keep a reader waiting for ever: the read goes on in
// a goroutine, so that the end of the context is noticed at once. That
// goroutine ends with the next byte or the end of in.
func (r *run) readPipe(name string, in io.Reader) error {
	pr, pw := io.Pipe()
	go func() {
		_, err := io.Copy(pw, in)
		pw.CloseWithError(err)
	}()
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-r.ctx.Done():
			pr.CloseWithError(r.ctx.Err())
		case <-done:
			_ = pr.Close()
		}
	}()
	return r.readInput(name, pr)
}
