package replay

import (
	"context"
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
func Size(paths []string) (sum int64, err error) {
	for _, p := range paths {
		open := p == "-"
		if !open {
			err = walkPath(p, func(_ string, info fs.FileInfo, err error) error {
				if err == nil {
					open = open || !info.Mode().IsRegular()
					sum += info.Size()
				}
				return nil
			})
		}
		if open || err != nil {
			return -1, err
		}
	}
	return sum, nil
}

// walk reads every path in turn.
func (r *run) walk(paths []string) error {
	r.several = len(paths) > 1
	for _, p := range paths {
		if p == "-" {
			continue
		}
		info, err := os.Stat(p)
		if err != nil {
			return fmt.Errorf("replay: %w", err)
		}
		r.several = r.several || info.IsDir()
	}
	for _, p := range paths {
		var err error
		if p == "-" {
			r.setNow(time.Now())
			err = r.readPipe("standard input", r.opt.Stdin)
		} else {
			err = walkPath(p, r.readFile)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// walkPath calls read for a file, or for every regular file below a directory, and
// for what cannot be entered there. A file named by the operator may be anything that
// can be read, a pipe too.
func walkPath(p string, read func(string, fs.FileInfo, error) error) error {
	info, err := os.Stat(p)
	if err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	if !info.IsDir() {
		return read(p, info, nil)
	}
	// A link to a directory is followed when the operator names it.
	if target, linkErr := filepath.EvalSymlinks(p); linkErr == nil {
		p = target
	}
	return filepath.WalkDir(p, func(name string, d fs.DirEntry, err error) error {
		switch maildir := isMaildir(filepath.Dir(name)); {
		case err != nil:
			return read(name, nil, err)
		case d.IsDir() && maildir && d.Name() == "tmp" && name != p:
			return fs.SkipDir
		case !d.Type().IsRegular() || maildir: // beside cur and new are indexes, not mail
			return nil
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // moved from new to cur, or expunged, meanwhile
		}
		return read(name, info, err)
	})
}

func isMaildir(dir string) bool {
	for _, sub := range []string{"cur", "new"} {
		if info, err := os.Stat(filepath.Join(dir, sub)); err != nil || !info.IsDir() {
			return false
		}
	}
	return true
}

// readFile reads one named file, unless err says why it cannot be read.
func (r *run) readFile(name string, info fs.FileInfo, err error) error {
	if r.ctx.Err() != nil {
		return r.ctx.Err()
	}
	var f *os.File
	if err == nil {
		f, err = os.Open(name)
	}
	if err != nil {
		r.st.Inputs++
		r.fault(name, err, false)
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

// readPipe reads what may keep a reader waiting for ever: the read goes on in
// a goroutine, so that the end of the context is noticed at once. That
// goroutine ends with the next byte or the end of in.
func (r *run) readPipe(name string, in io.Reader) error {
	pr, pw := io.Pipe()
	defer func() { _ = pr.Close() }()
	stop := context.AfterFunc(r.ctx, func() { pr.CloseWithError(r.ctx.Err()) })
	defer stop()
	go func() {
		_, err := io.Copy(pw, in)
		pw.CloseWithError(err)
	}()
	return r.readInput(name, pr)
}
